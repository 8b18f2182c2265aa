#!/usr/bin/env bash
# Tries the Debian package in dist/ in a fresh root of a suite, bookworm or trixie, say: installs it, does
# what README.md starts with on an interface of its own, and removes it, after which nothing may be left.
# It needs root, and debootstrap.
set -euo pipefail
cd "$(dirname "$0")/.."
suite=${1:?which suite: packaging/try.sh trixie}
package=$(echo dist/*_"$(dpkg --print-architecture)".deb)
[ -f "$package" ] || { echo "no package: make release" >&2; exit 1; }

# Mounts go with their namespace.
if [ "${TRYING:-}" != "$suite" ]; then
	TRYING=$suite exec unshare --mount packaging/try.sh "$suite"
fi
root=$(mktemp -d)
trap 'umount --recursive --quiet "$root"/{sys,proc,dev} || true; rm -rf --one-file-system "$root" "$root.log"' EXIT

echo "$suite: a fresh root"
debootstrap --variant=minbase "$suite" "$root" > "$root.log" || { tail "$root.log" >&2; exit 1; }
rm "$root.log"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t bpf bpf "$root/sys/fs/bpf"
mount --rbind --make-rslave /dev "$root/dev"
within() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive "$@"; }
quietly() { "$@" > "$root/tmp/log" 2>&1 || { cat "$root/tmp/log" >&2; exit 1; }; }

cp -r /etc/apt/apt.conf.d "$root/etc/apt" # as this machine comes by packages
quietly within apt-get update
# What the first program is compiled with.
quietly within apt-get install -y --no-install-recommends clang libbpf-dev libc6-dev gcc iproute2
files() { (cd "$root" && find . -xdev \( -path ./tmp -o -path ./var -o -path ./root \) -prune -o -print | sort); }
files > "$root/tmp/before"

cp "$package" "$root/tmp"
quietly within apt-get install -y "/tmp/$(basename "$package")"
# shellcheck disable=SC2016 # the shell in the root is to see to the variables
within unshare --net sh -euc '
	ip link add eth0 type veth peer name wire
	ip link set eth0 up
	cd /root
	set -x
	xdp-load --version
	clang -O2 -g -target bpf -I/usr/include/xdp-load -I/usr/include/$(gcc -print-multiarch) \
		-c /usr/share/doc/xdp-load/examples/balance.c -o balance.o
	xdp-load --iface eth0 balance.o
	xdp-load status
	xdp-load unload eth0
	xdp-load drivers > /dev/null
	zgrep -c SYNOPSIS /usr/share/man/man1/xdp-load.1.gz
' 2>&1

quietly within apt-get remove -y xdp-load
files > "$root/tmp/after"
diff "$root/tmp/before" "$root/tmp/after" || { echo "$suite: this is left when the package is removed" >&2; exit 1; }
echo "$suite: installed, used, removed, and nothing left"
