// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/*
 * relocate OBJECT BTF - print what libbpf makes of an object's CO-RE records
 *
 * Relocates OBJECT against the types in BTF, raw or in an ELF file, and prints
 *
 *	program NAME INSTRUCTION...	as libbpf would load it, in hexadecimal
 *	warning TEXT			what libbpf has to say
 *
 * It exits with 1 if libbpf refuses the object.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include <bpf/libbpf.h>
#include <linux/bpf.h>

/*
 * libbpf relocates an object only on its way into the kernel. Here it finds
 * this function in place of the C library's: a kernel that accepts everything,
 * needs no privileges, and is the same on every machine.
 */
long syscall(long number, ...)
{
	va_list args;
	int command;

	va_start(args, number);
	command = va_arg(args, int);
	va_end(args);

	if (number != SYS_bpf) {
		errno = ENOSYS;
		return -1;
	}
	switch (command) {
	case BPF_MAP_CREATE:
	case BPF_PROG_LOAD:
	case BPF_BTF_LOAD:
		return open("/dev/null", O_RDONLY | O_CLOEXEC);
	default:
		return 0;
	}
}

/* Called for each program when all its records are resolved. */
static int print_program(struct bpf_program *prog, struct bpf_prog_load_opts *opts, long cookie)
{
	const struct bpf_insn *insns = bpf_program__insns(prog);
	size_t i, n = bpf_program__insn_cnt(prog);
	__u64 bytes;

	printf("program %s", bpf_program__name(prog));
	for (i = 0; i < n; i++) {
		memcpy(&bytes, &insns[i], sizeof(bytes));
		printf(" %016llx", (unsigned long long)bytes);
	}
	printf("\n");
	return 0;
}

static int print_warning(enum libbpf_print_level level, const char *format, va_list args)
{
	if (level != LIBBPF_WARN)
		return 0;
	printf("warning ");
	return vprintf(format, args);
}

static int handle(const char *section, enum bpf_prog_type type)
{
	LIBBPF_OPTS(libbpf_prog_handler_opts, opts,
		    .prog_prepare_load_fn = print_program);

	return libbpf_register_prog_handler(section, type, 0, &opts);
}

static int relocate(const char *path, const char *types)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .btf_custom_path = types);
	struct bpf_object *object = bpf_object__open_file(path, &opts);
	int err;

	if (!object)
		return -errno;
	err = bpf_object__load(object);
	bpf_object__close(object);
	return err;
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: %s OBJECT BTF\n", argv[0]);
		return 2;
	}
	libbpf_set_print(print_warning);
	if (handle("xdp", BPF_PROG_TYPE_XDP) < 0 || handle("tc", BPF_PROG_TYPE_SCHED_CLS) < 0) {
		perror("libbpf_register_prog_handler");
		return 2;
	}
	return relocate(argv[1], argv[2]) ? 1 : 0;
}
