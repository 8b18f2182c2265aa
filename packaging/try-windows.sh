#!/usr/bin/env bash
# Runs the binary for Windows under Wine 10, in a fresh root of trixie, on each line of packaging/windows.txt, and
# compares what it prints and writes, and its exit code, with what the binary for Linux does. It needs root,
# debootstrap, and 1.3 GB for temporary files. Wine 8, of bookworm, does not start programs of Go.
set -euo pipefail
cd "$(dirname "$0")/.."

# Mounts go with their namespace.
if [ "${TRYING:-}" != windows ]; then
	TRYING=windows exec unshare --mount packaging/try-windows.sh
fi
root=$(mktemp -d)
trap 'umount --recursive --quiet "$root"/{proc,dev} || true; rm -rf --one-file-system "$root" "$root".{log,out}' EXIT

for system in linux windows; do
	CGO_ENABLED=0 GOOS=$system GOARCH=amd64 go build -o "$root/usr/local/$system/" ./cmd/xdp-load
done
echo "trixie: a fresh root with Wine"
debootstrap --variant=minbase trixie "$root" > "$root.log" || { tail "$root.log" >&2; exit 1; }
mount -t proc proc "$root/proc"
mount --rbind --make-rslave /dev "$root/dev"
within() {
	chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
		XDG_RUNTIME_DIR=/tmp WINEDEBUG=-all "$@"
}
cp -r /etc/apt/apt.conf.d "$root/etc/apt" # as this machine comes by packages
{
	within apt-get update
	within apt-get install -y --no-install-recommends wine wine64
	within wineboot --init
} > "$root.log" 2>&1 || { tail "$root.log" >&2; exit 1; }
within wine --version

# What the lines are about, in /root/try, which Windows calls Z:\root\try.
try=$root/root/try
mkdir -p "$try/layouts" "$try/btf"
cp bpf/examples/balance-el.o "$try/prog.o"
cp testdata/programs/unguarded-el.o "$try/unguarded.o"
cp testdata/layouts/exact-el.o "$try/layouts/nic.o"
cp testdata/layouts/sparse-el.o "$try/layouts/other.o"
cp bpf/examples/balance.c "$try/prog.c"
cat /sys/kernel/btf/vmlinux > "$try/btf/vmlinux"
printf '#!/bin/sh\nexec wine /usr/local/windows/xdp-load.exe "$@"\n' > "$root/usr/local/windows/xdp-load"
chmod +x "$root/usr/local/windows/xdp-load"

# run SYSTEM LINE - prints what a line prints, as it is on both systems, and its exit code. It is no pipe that
# the line writes to: Wine's servers would keep it open.
run() {
	local code=0
	within unshare --net bash -c "cd /root/try; PATH=/usr/local/$1:\$PATH; $2" > "$root.out" 2>&1 < /dev/null || code=$?
	sed 's/Z://g; s|\\\\|/|g; s|\\|/|g' "$root.out"
	echo "exit code $code"
}

# On Linux a path has other separators, and no drive; the reasons of Windows are Wine's words.
linux() { run linux "$(sed 's/Z://g; s|\\|/|g' <<< "$1")"; }
windows() {
	run windows "$1" | sed -e 's/: \(File\|Path\) not found\.$/: no such file or directory/' -e 's/: Disk full\./: no space left on device/'
}

differ=0 lines=0
while IFS= read -r line; do
	case $line in
	'' | '#'*) continue ;;
	*' => '*)
		read -r code wanted <<< "${line##* => }"
		wanted=$(printf '%s\n' "$wanted" "exit code $code") line=${line%% => *}
		;;
	*) wanted=$(linux "$line") ;;
	esac
	lines=$((lines + 1))
	if ! diff <(echo "$wanted") <(windows "$line") > "$root.log"; then
		echo "$line"
		head -n 20 "$root.log"
		differ=$((differ + 1))
	fi
done < packaging/windows.txt
within wineserver -k || true
[ $differ = 0 ] || { echo "$differ of $lines lines differ (< Linux, or what is wanted, > Windows)" >&2; exit 1; }
echo "$lines lines, the same on Windows and on Linux"
