# clang 14 and 16 only compile what the tests take as input; see
# testdata/README.md.
packages = clang-14 clang-16 clang-19 llvm-19 libbpf-dev libc6-dev gcc \
	bpftool xdp-tools iproute2 ethtool

.PHONY: deps generate

deps:
	@if ! dpkg-query -W -f '$${db:Status-Status}\n' $(packages) 2>&1 | grep -qv '^installed$$'; then \
		exit 0; \
	fi; \
	apt-get update && \
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(packages)

generate: deps
	testdata/generate.sh
