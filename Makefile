# clang 14, 16 and 22 and gcc-bpf only compile what the tests take as input;
# see testdata/README.md.
compilers = clang-14 clang-16 clang-19 clang-22 libbpf-dev libc6-dev
packages = $(compilers) llvm-19 gcc-bpf gcc g++ bpftool xdp-tools iproute2 ethtool jq bash-completion zsh fish mandoc systemd udev podman crun

# What the tests on other kernels need besides Go.
kernel-packages = qemu-system-misc kmod iproute2 bpftool ethtool xdp-tools $(compilers)

# The linter, by its version.
staticcheck = honnef.co/go/tools/cmd/staticcheck@v0.7.0

.PHONY: all build install uninstall root demo bench bench-write profile lint race check test random test-kernels drivers site release try-release try-windows deps generate fuzz fuzz-long

all: build

# What shells complete is asked of the command, which may be for another machine than this.
build:
	CGO_ENABLED=0 go build -o bin/xdp-load ./cmd/xdp-load
	GOOS= GOARCH= go run ./cmd/xdp-load completion bash > bin/xdp-load.bash
	GOOS= GOARCH= go run ./cmd/xdp-load completion zsh > bin/xdp-load.zsh
	GOOS= GOARCH= go run ./cmd/xdp-load completion fish > bin/xdp-load.fish

# Where make install puts what. DESTDIR goes before all of it, as packages want it.
PREFIX = /usr/local
bindir = $(PREFIX)/bin
includedir = $(PREFIX)/include/xdp-load
mandir = $(PREFIX)/share/man
unitdir = $(PREFIX)/lib/systemd/system
bashdir = $(PREFIX)/share/bash-completion/completions
zshdir = $(PREFIX)/share/zsh/site-functions
fishdir = $(PREFIX)/share/fish/vendor_completions.d

pages = $(wildcard man/*.1)
headers = bpf/md_desc.h bpf/md_driver.h bpf/md_meta.h
units = cmd/xdp-load/xdp-load-watch.service cmd/xdp-load/xdp-load@.service

# Installs what make has built before, so that "make" and "sudo make install" need Go only once.
install:
	@test -x bin/xdp-load || { echo "nothing to install yet: make" >&2; exit 1; }
	install -D -m 755 bin/xdp-load $(DESTDIR)$(bindir)/xdp-load
	install -d $(DESTDIR)$(includedir) $(DESTDIR)$(mandir)/man1
	install -m 644 $(headers) $(DESTDIR)$(includedir)
	install -m 644 $(pages) $(DESTDIR)$(mandir)/man1
	install -D -m 644 bin/xdp-load.bash $(DESTDIR)$(bashdir)/xdp-load
	install -D -m 644 bin/xdp-load.zsh $(DESTDIR)$(zshdir)/_xdp-load
	install -D -m 644 bin/xdp-load.fish $(DESTDIR)$(fishdir)/xdp-load.fish
	install -d $(DESTDIR)$(unitdir)
	install -m 644 $(units) $(DESTDIR)$(unitdir)
	sed -i 's|/usr/bin|$(bindir)|' $(addprefix $(DESTDIR)$(unitdir)/,$(notdir $(units)))

uninstall:
	rm -f $(DESTDIR)$(bindir)/xdp-load
	rm -f $(addprefix $(DESTDIR)$(includedir)/,$(notdir $(headers)))
	rm -f $(addprefix $(DESTDIR)$(mandir)/man1/,$(notdir $(pages)))
	rm -f $(DESTDIR)$(bashdir)/xdp-load $(DESTDIR)$(zshdir)/_xdp-load $(DESTDIR)$(fishdir)/xdp-load.fish
	rm -f $(addprefix $(DESTDIR)$(unitdir)/,$(notdir $(units)))
	rmdir $(DESTDIR)$(includedir) 2> /dev/null || true

# Says so before anything else fails for want of it.
root:
	@unshare --net --mount true 2> /dev/null || { \
		echo "needs root, to make network namespaces and to load programs: sudo make $(MAKECMDGOALS)" >&2; \
		exit 1; \
	}

# Needs root, and nothing but Go and ip.
demo: root build
	@command -v ip > /dev/null || { apt-get update && apt-get install -y --no-install-recommends iproute2; }
	@go run ./cmd/demo

# Shows an example of docs/examples.md on emulated NICs, in a network namespace of its own:
# make run-receive. Needs root.
examples = checksum latency ptype receive spread talkers vlan
.PHONY: $(examples:%=run-%)
$(examples:%=run-%): run-%: root
	@go build -o bin/$* ./examples/$*
	@go run ./examples/run $*

# What it takes to read fields from a driver and from the metadata area, in each way that
# there is, what it takes to load an object, and how that grows: see docs/performance.md,
# which make bench-write writes anew. All of it is in a network namespace of its own. Needs
# root.
bench-packages = clang-19 libbpf-dev libc6-dev gcc iproute2 bpftool xdp-tools
bench: root
	$(call install,$(bench-packages))
	go run ./internal/bench

bench-write: root
	$(call install,$(bench-packages))
	go run ./internal/bench -write

# Where the time and the memory go: of loading and unloading, of rewriting 100,000 accesses,
# and of the start of a process. The profiles stay in bin/, for go tool pprof. Needs root.
profile: root build
	$(call install,$(bench-packages))
	$(call profile,./loader,load,^BenchmarkLoad$$,200x)
	$(call profile,./rewrite,rewrite,^BenchmarkRewrite$$/^100000$$/^converted$$,1x)
	@echo "== start: the packages that take longest to initialise"
	@GODEBUG=inittrace=1 bin/xdp-load --version 2>&1 | grep '^init ' | sort -k5 -rn | head -15

# $(call profile,PACKAGE,NAME,BENCHMARK,TIMES) - runs a benchmark, and prints what took most
define profile
	@echo "== $(2)"
	@go test $(1) -run '^$$' -bench '$(3)' -benchtime $(4) -o bin/$(2).test \
		-cpuprofile bin/$(2).cpu -memprofile bin/$(2).heap -memprofilerate 4096 | grep ^Benchmark
	@go tool pprof -top -nodecount 15 bin/$(2).test bin/$(2).cpu 2> /dev/null | sed '1,/^Showing/d'
	@go tool pprof -sample_index alloc_space -top -nodecount 15 bin/$(2).test bin/$(2).heap 2> /dev/null | sed '1,/^Showing/d'

endef

# What the command runs on besides linux/amd64, and the packages whose tests need no Linux.
others = linux/arm64 linux/riscv64 linux/s390x darwin/arm64 windows/amd64
portable = ./reloc ./internal/btfraw ./internal/convert ./internal/elfobj ./internal/flow ./internal/insn ./internal/refuse

# Formatting and linters, and whether it all compiles for the others.
lint: $(others)
	@test -z "$$(gofmt -l .)" || { echo "not gofmt-ed:"; gofmt -l .; exit 1; }
	go vet ./...
	go run $(staticcheck) ./...

.PHONY: $(others)
$(others):
	GOOS=$(@D) GOARCH=$(@F) go build -o /dev/null ./cmd/xdp-load
	GOOS=$(@D) GOARCH=$(@F) go vet $(portable)

# With the race detector, what goroutines share. It needs a C compiler, and makes all
# other tests take ten times as long.
race:
ifeq ($(shell go env CGO_ENABLED),1)
	go test -race ./rewrite -run SharedLayout
	go test -race ./loader -run Fits
endif

# The linters, and the tests that need neither root nor packages, with fewer random
# cases than in make test.
check: lint race
	go test -short ./...

# Everything: the linters, all tests on the running kernel, and whether the
# checked-in objects are what their sources compile to. Needs root.
test: root deps lint race
	./.ci/go-test
	testdata/generate.sh
	git diff --exit-code --stat -- '*.o' '*_bpfe[lb].go'

# More random programs than make test has. Needs root.
random: root deps
	go test ./rewrite -count=1 -timeout 30m -run '^Test(Pairs|DriverRandom|NumberRandom)$$' \
		-pairs.count 2000 -driver.count 240 -numbers.programs 240

# The tests that concern the kernel on others than the running one, which are
# downloaded once: all, or those that are named, as in KERNELS="5.10 6.12-s390x".
# Needs root, and a Debian on amd64.
test-kernels:
	$(call install,$(kernel-packages))
	@CGO_ENABLED=0 go run ./internal/kernels $(KERNELS)

# Which accessors read less of a kernel than of the newest that is known, or something else:
# make drivers BTF=DIRECTORY, laid out like /sys/kernel/btf.
drivers:
	@test -n "$(BTF)" || { echo "which kernel: make drivers BTF=DIRECTORY, laid out like /sys/kernel/btf" >&2; exit 1; }
	@go run ./internal/newkernel $(BTF)

# README.md and docs/ as a site with search, in site/dist. Needs npm.
site:
	cd site && npm ci && npm run build

# What is published of a version, in dist/: see packaging/release.sh.
release:
	packaging/release.sh

# Installs the Debian package of make release in fresh roots, and removes it. Needs root.
try-release: root
	$(call install,debootstrap)
	packaging/try.sh bookworm
	packaging/try.sh trixie

# Compares the command on Windows, by Wine in a fresh root, with the one on Linux. It takes five
# minutes. Needs root.
try-windows: root
	$(call install,debootstrap)
	packaging/try-windows.sh

deps:
	$(call install,$(packages))

# $(call install,PACKAGES) - installs packages unless all of them are
define install
	@if ! dpkg-query -W -f '$${db:Status-Status}\n' $(1) 2>&1 | grep -qv '^installed$$'; then \
		exit 0; \
	fi; \
	apt-get update && \
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(1)
endef

# Compiles every checked-in object again, and writes the golden files and the
# messages in the scripts anew.
generate: deps
	testdata/generate.sh
	go test ./rewrite -run 'Golden|AccessShapes' -update
	go test ./cmd/xdp-load -run 'Script|ManPages' -update

# Fuzzes each target for a while. Left to itself, Go spends a minute on each
# input of some kilobytes to make it smaller.
fuzztime = 1m
fuzz:
	go test ./internal/elfobj -run '^$$' -fuzz FuzzParse -fuzztime $(fuzztime) -fuzzminimizetime 5x
	go test ./internal/btfraw -run '^$$' -fuzz FuzzImport -fuzztime $(fuzztime) -fuzzminimizetime 5x
	go test ./internal/btfraw -run '^$$' -fuzz FuzzExcerpt -fuzztime $(fuzztime) -fuzzminimizetime 5x
	go test ./internal/code -run '^$$' -fuzz FuzzReplace -fuzztime $(fuzztime) -fuzzminimizetime 1x
	go test ./internal/collection -run '^$$' -fuzz FuzzReadable -fuzztime $(fuzztime) -fuzzminimizetime 1x
	go test ./internal/link -run '^$$' -fuzz FuzzInto -fuzztime $(fuzztime) -fuzzminimizetime 1x
	go test ./internal/flow -run '^$$' -fuzz FuzzFunction -fuzztime $(fuzztime) -fuzzminimizetime 5x
	go test ./verify -run '^$$' -fuzz FuzzParsePacket -fuzztime $(fuzztime) -fuzzminimizetime 5x
	go test ./reloc -run '^$$' -fuzz FuzzRead -fuzztime $(fuzztime) -fuzzminimizetime 5x
	go test ./nic -run '^$$' -fuzz FuzzHeader -fuzztime $(fuzztime) -fuzzminimizetime 5x
	go test ./rewrite -run '^$$' -fuzz FuzzRewrite -fuzztime $(fuzztime) -fuzzminimizetime 5x

# As many random pairs of a program's struct and a layout's as take some hours.
fuzz-long:
	go test ./rewrite -run TestPairs -pairs.count 100000 -timeout 24h
