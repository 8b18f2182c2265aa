#!/usr/bin/env bash
# Makes what is published of a version, in dist/: static binaries, Debian packages, the source, an SBOM
# for each binary, and checksums. It is made of what is committed, and the same each time: the same
# commit, with the same Go, gives the same bytes. It needs Go, git, make, and of Debian dpkg-deb.
set -euo pipefail
cd "$(dirname "$0")/.."

linux=(amd64 arm64 s390x riscv64)
others=(darwin/amd64 darwin/arm64 windows/amd64 windows/arm64) # check, rewrite and explain
sbom=github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0

version=$(git show HEAD:cmd/xdp-load/VERSION)
version=${version%-dev}
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
source=$work/xdp-load-$version
dist=$PWD/dist
rm -rf "$dist"
mkdir "$dist"

export CGO_ENABLED=0 SOURCE_DATE_EPOCH TZ=UTC LC_ALL=C
export GOFLAGS="-trimpath -buildvcs=false '-ldflags=-s -w -buildid='"
umask 022

# archive NAME DIRECTORY - makes NAME of a directory in $work
archive() {
	tar -C "$work" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -cf - "$2" |
		gzip -9n > "$dist/$1"
}

# list BINARY NAME - writes which modules, with which licences, a binary is made of
list() {
	env -u GOOS -u GOARCH GOFLAGS= go run "$sbom" bin -json -noserial -notimestamp -std -licenses \
		-version "v$version" -output "$dist/$2.cdx.json" "$1" 2> "$work/sbom.log" || { cat "$work/sbom.log" >&2; exit 1; }
}

# size DIRECTORY - prints how many KiB a package has, as dpkg-gencontrol counts: what a directory takes
# depends on the file system
size() {
	find "$1" -mindepth 1 -name DEBIAN -prune -o -printf '%y %s\n' |
		awk '{ kib += $1 == "f" ? int(($2 + 1023) / 1024) : 1 } END { print kib }'
}

# debian ARCHITECTURE - makes a package of what is built in $source
debian() {
	local root=$work/debian-$1 doc
	doc=$root/usr/share/doc/xdp-load
	make -s -C "$source" install DESTDIR="$root" PREFIX=/usr
	mkdir -p "$doc/docs" "$root/etc/xdp-load/layouts" "$root/usr/share/xdp-load"
	cp "$source"/README.md "$doc"
	cp "$source"/docs/*.md "$doc/docs"
	cp "$source"/LICENSE "$doc/copyright"
	gzip -9nc "$source/CHANGELOG.md" > "$doc/changelog.gz"
	cp -r "$source/bpf/examples" "$doc"
	rm "$doc"/examples/*-e[lb].o
	gzip -9n "$root"/usr/share/man/man1/*.1

	# The accessors that are in the binary, to start one's own from.
	local order=el
	[ "$1" != s390x ] || order=eb
	mkdir "$root/usr/share/xdp-load/accessors"
	cp "$source"/bpf/drivers/*.[ch] "$source"/bpf/drivers/*-$order.o "$root/usr/share/xdp-load/accessors"

	cp -r "$source/packaging/debian" "$root/DEBIAN"
	sed -i -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$1/" \
		-e "s/@SIZE@/$(size "$root")/" "$root/DEBIAN/control"
	(cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) > "$root/DEBIAN/md5sums"
	find "$root" -print0 | xargs -0 touch --no-dereference --date="@$SOURCE_DATE_EPOCH"
	dpkg-deb --root-owner-group --uniform-compression -Zxz --build "$root" "$dist/xdp-load_${version}_$1.deb" > /dev/null
}

mkdir "$source"
git archive HEAD | tar -C "$source" -xf -
echo "$version" > "$source/cmd/xdp-load/VERSION"
archive "xdp-load-$version.tar.gz" "xdp-load-$version"

for arch in "${linux[@]}"; do
	make -s -C "$source" build GOOS=linux GOARCH="$arch"
	name=xdp-load-$version-linux-$arch
	make -s -C "$source" install DESTDIR="$work/$name" PREFIX=
	cp "$source"/{LICENSE,README.md,CHANGELOG.md} "$work/$name"
	archive "$name.tar.gz" "$name"
	debian "$arch"
	list "$source/bin/xdp-load" "$name"
	echo "$name"
done
for target in "${others[@]}"; do
	name=xdp-load-$version-${target/\//-}
	mkdir "$work/$name"
	GOOS=${target%/*} GOARCH=${target#*/} go -C "$source" build -o "$work/$name/" ./cmd/xdp-load
	list "$work/$name"/xdp-load* "$name"
	cp "$source"/{LICENSE,README.md,CHANGELOG.md} "$work/$name"
	archive "$name.tar.gz" "$name"
	echo "$name"
done
(cd "$dist" && sha256sum -- * > SHA256SUMS)
echo "dist: $(wc -l < "$dist/SHA256SUMS") files of version $version, and SHA256SUMS"
