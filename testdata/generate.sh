#!/bin/sh

# Compiles every object that is checked in from the source beside it. The same
# sources and compilers give the same bytes in any directory.
set -eu
cd "$(dirname "$0")/.."

# Debian keeps <asm/types.h> in a directory of the build machine's architecture,
# where "-target bpf" does not look.
asm=$(gcc -print-multiarch)

# compile VERSION CPU ENDIAN SOURCE OBJECT [FLAG...]
#
# Of the machine, as little as possible gets into the object: file names come
# out relative to the top of the repository, -fno-ident leaves out the name of
# the compiler's package, and DWARF 4, unlike 5, has no checksums of the headers
# under /usr/include.
compile() {
	version=$1 cpu=$2 endian=$3 source=$4 object=$5
	shift 5
	"clang-$version" -O2 -g -target "bpf$endian" "-mcpu=$cpu" \
		-gdwarf-4 -Wall -Werror -fno-ident \
		-fdebug-compilation-dir=. \
		-isystem "/usr/include/$asm" "$@" \
		-c "$source" -o "$object"
}

# Drops DWARF, of which nothing here reads a byte.
strip_dwarf() {
	llvm-strip-19 -g "$@"
}

layouts() {
	for source in testdata/layouts/*.c; do
		for endian in el eb; do
			object=${source%.c}-$endian.o
			compile 19 v3 $endian "$source" "$object"
			strip_dwarf "$object"
		done
	done
}

programs() {
	for source in testdata/programs/*.c; do
		for endian in el eb; do
			object=${source%.c}-$endian.o
			compile 19 v3 $endian "$source" "$object" -Ibpf

			# One object stays as the compiler leaves it.
			case $object in
			*/fields-el.o) ;;
			*) strip_dwarf "$object" ;;
			esac
		done
	done
}

# variants SOURCE VERSION-CPU... - a source by other compilers and for other
# instruction sets
variants() {
	variant_source=$1
	shift
	for target; do
		for endian in el eb; do
			object=${variant_source%.c}-clang$target-$endian.o
			compile "${target%-*}" "${target#*-}" $endian \
				"$variant_source" "$object" -Ibpf
			strip_dwarf "$object"
		done
	done
}

# v4 came with clang 18.
matrix() {
	for program in fields flavour kinds paths shapes store; do
		variants testdata/programs/$program.c \
			14-v1 14-v2 14-v3 16-v1 16-v2 16-v3 \
			19-v1 19-v2 19-v3 19-v4 22-v1 22-v2 22-v3 22-v4
	done
	for program in copies nests parts; do
		variants testdata/programs/$program.c 14-v1 19-v4
	done
	for program in entries follow own; do
		variants testdata/programs/$program.c 14-v1 16-v2 22-v4
	done
	for source in internal/flow/testdata/*.c; do
		variants "$source" 14-v1 14-v3 16-v3 19-v1 19-v2 19-v4 \
			22-v1 22-v2 22-v3 22-v4
	done
}

# oneload.c against the layouts themselves.
fixed() {
	for layout in exact reordered narrow nested flavour; do
		object=testdata/programs/fixed/oneload-$layout-el.o
		compile 19 v3 el testdata/programs/oneload.c "$object" \
			-Itestdata/programs/fixed -Itestdata/layouts \
			"-DLAYOUT=\"$layout.c\"" -Dmd_desc___nic=md_desc
		strip_dwarf "$object"
	done
}

# GCC writes the path of its source into the BTF, whatever it is told: here it
# is the same in any directory.
by_gcc() {
	for option in -mlittle-endian:el -mbig-endian:eb; do
		bpf-gcc -O2 -gbtf -mco-re "${option%:*}" -Wall -Werror -fno-ident \
			-isystem /usr/include -isystem "/usr/include/$asm" \
			-c -x c /dev/stdin -o "testdata/invalid/gcc-${option#*:}.o" \
			< testdata/invalid/gcc.c
	done
}

# What only some of the tests take as input.
others() {
	for source in testdata/invalid/*.c internal/flow/testdata/*.c \
		      loader/testdata/*.c reloc/testdata/*.c; do
		case $source in
		*/gcc.c) continue ;;
		esac
		for endian in el eb; do
			object=${source%.c}-$endian.o
			compile 19 v3 $endian "$source" "$object" -Ibpf
			strip_dwarf "$object"
		done
	done

	variants testdata/invalid/pointers.c 14-v1 16-v2 22-v4

	compile 14 v3 el testdata/invalid/enum.c \
		testdata/invalid/enum-clang14-el.o -Ibpf
	strip_dwarf testdata/invalid/enum-clang14-el.o

	# With DWARF, which has to go when code moves; gotol came with v4, gotox
	# with clang 22.
	for source in internal/code/testdata/*.c; do
		version=19 cpu=v3
		case $source in
		*/gotol.c) cpu=v4 ;;
		*/gotox.c) version=22 cpu=v4 ;;
		esac
		for endian in el eb; do
			compile $version $cpu $endian "$source" "${source%.c}-$endian.o"
		done
	done

	# Sections that are compressed have to survive, too.
	compile 19 v3 el testdata/programs/unguarded.c \
		internal/elfobj/testdata/compressed-el.o -Ibpf -gz
}

examples() {
	for source in bpf/examples/*.c; do
		for endian in el eb; do
			compile 19 v3 $endian "$source" \
				"${source%.c}-$endian.o" -Ibpf
		done
	done
}

# The flag is what bpf/md_driver.h asks for.
drivers() {
	for source in bpf/drivers/*.c bpf/observe/*.c; do
		for endian in el eb; do
			object=${source%.c}-$endian.o
			compile 19 v3 $endian "$source" "$object" -Ibpf \
				-fno-delete-null-pointer-checks
			strip_dwarf "$object"
		done
	done
}

# Accessors that are wrong, for verify to find out. What receives packets in its
# tests is little-endian.
broken() {
	for source in verify/testdata/*.c; do
		object=${source%.c}-el.o
		compile 19 v3 el "$source" "$object" -Ibpf \
			-fno-delete-null-pointer-checks
		strip_dwarf "$object"
	done
}

# What embeds its object, with the Go code for it: go generate, with what makes the bytes
# the same everywhere.
embedded() {
	BPF2GO_CFLAGS="-fno-ident -isystem /usr/include/$asm" go generate ./examples/...
}

# At the same time: no two of them write to one object.
started=
for group in layouts programs matrix fixed by_gcc others examples drivers broken embedded; do
	$group &
	started="$started $!"
done
failed=0
for group in $started; do
	wait "$group" || failed=1
done
exit $failed
