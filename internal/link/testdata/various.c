/* A function that needs more than others: a string, a constant without a name, variables of
 * its own, a value of the kernel's configuration, a type that is only declared, a tag.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#if __has_attribute(btf_decl_tag)
#define TAGGED __attribute__((btf_decl_tag("tagged")))
#else
#define TAGGED
#endif

extern int LINUX_KERNEL_VERSION __kconfig;

struct elsewhere;

struct counts { int odd, even TAGGED; };

static __noinline int count(struct elsewhere *unknown, int n)
{
	static volatile struct counts counts = { 5, 6 };

	if (unknown)
		return -1;
	counts.even += n;
	return counts.even;
}

static __noinline int version(void)
{
	return LINUX_KERNEL_VERSION > 1 ? 200 : 0;
}

__noinline int various(struct xdp_md *ctx)
{
	volatile char text[4] = "abc";
	const int digits[5] = { 3, 1, 4, 1, 5 };

	if (bpf_strncmp((const char *)text, sizeof(text), "abc"))
		return -1;
	return count((void *)(long)ctx->rx_queue_index, 1) + version() + digits[ctx->rx_queue_index & 3] * 10000;
}
