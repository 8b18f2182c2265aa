#!/bin/sh
# Makes the types of a driver that no package has a module of, out of its headers and a
# kernel's BTF, as BTF by the name of the driver.
#
#	generate.sh DRIVER VMLINUX MODULE SOURCE
#
# VMLINUX and MODULE are raw BTF. The module is one of the kernel's that has the types of
# phylink, for fbnic; for tsnep any will do. SOURCE is the directory of the driver's source.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
driver=$1 vmlinux=$2 module=$3 source=$4

made=$(mktemp -d)
trap 'rm -r "$made"' EXIT
bpftool btf dump -B "$vmlinux" file "$module" format c >"$made/vmlinux.h"
grep -h '#include <' "$source"/*.h | sed 's/.*<\(.*\)>.*/\1/' | sort -u | while read -r header; do
	mkdir -p "$made/empty/$(dirname "$header")"
	: >"$made/empty/$header"
done
clang-19 -g -O2 -target bpf -Wno-everything -nostdinc -I"$made" -I"$made/empty" -I"$source" \
	-c "$here/$driver.c" -o "$made/types.o"
llvm-objcopy-19 --dump-section ".BTF=$driver" "$made/types.o"
