#!/bin/sh
# Builds what is shipped into target/packages: two .deb, two .rpm, a tarball, and the folder of an image. One set of static programs is in all of them,
# so that one build runs on any Linux of its processor. `make packages` calls this.
#
#   PACKAGE_TARGET   what to compile for; default: this machine's processor with musl, linked statically
#   SKIP_BUILD=1     take the programs that are compiled already
set -eu
cd "$(dirname "$0")/.."
CARGO=${CARGO:-cargo}
out=target/packages
stage=$out/stage
tools=$PWD/target/tools
# Pinned: the same inputs give the same packages.
CARGO_DEB=3.8.0
CARGO_GENERATE_RPM=0.21.1

say() { printf '== %s\n' "$*"; }
die() { printf 'packages: %s\n' "$*" >&2; exit 1; }

# Installs a cargo tool of this version into target/tools, once.
tool() {
    if ! "$tools/bin/$1" --version 2>/dev/null | grep -q "$2"; then
        say "installing $1 $2 into target/tools"
        CARGO_TARGET_DIR=$tools/build $CARGO install --quiet --locked --root "$tools" "$1@$2"
        rm -rf "$tools/build"
    fi
}

# Debian's musl-gcc comes without the kernel's headers, which are the same for every C library.
kernel_headers() {
    processor=$(echo "$target" | cut -d- -f1)
    headers=$PWD/target/tools/kernel-headers
    mkdir -p "$headers"
    for folder in linux asm-generic; do ln -sfn "/usr/include/$folder" "$headers/$folder"; done
    for folder in "/usr/include/$processor-linux-gnu/asm" /usr/include/asm; do
        if [ -d "$folder" ]; then ln -sfn "$folder" "$headers/asm"; break; fi
    done
    variable=CFLAGS_$(echo "$target" | tr - _)
    export "$variable=-idirafter $headers -ffile-prefix-map=$PWD=/ztnode"
}

# The target to compile for. Without musl's standard library, glibc is linked statically: it runs as well, but looks names
# up by what the machine's own glibc offers.
choose_target() {
    host=$(rustc -vV | sed -n 's/^host: //p')
    if [ -n "${PACKAGE_TARGET:-}" ]; then
        target=$PACKAGE_TARGET
    else
        target=$(echo "$host" | sed 's/-unknown-linux-gnu$/-unknown-linux-musl/')
        if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]; then
            rustup target add "$target" >/dev/null 2>&1 || target=$host
        fi
    fi
    case $target in
    *-musl)
        command -v musl-gcc >/dev/null || die "C parts are compiled with musl-gcc: install musl-tools"
        kernel_headers
        ;;
    *-gnu)
        say "no standard library for musl here; linking glibc statically"
        RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static"
        export RUSTFLAGS
        ;;
    esac
}

choose_target
version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
[ -n "$version" ] || die "no version in Cargo.toml"
# Times in the packages: the last commit's, so that building again gives the same bytes.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
# A folder of its own: what was compiled otherwise for the same target has this machine's paths in it.
built=${CARGO_TARGET_DIR:-$PWD/target}/shipped
compiled=$built/$target/release

if [ -z "${SKIP_BUILD:-}" ]; then
    say "compiling for $target"
    BUILD_TOP=$PWD BUILD_TARGET=$built BUILD_CARGO=${CARGO_HOME:-$HOME/.cargo}
    export BUILD_TOP BUILD_TARGET BUILD_CARGO
    RUSTC_WRAPPER=$PWD/packaging/rustc CARGO_TARGET_DIR=$built $CARGO build --locked --release --target "$target" --package node --package cli --package packaging --bins
fi
for program in ztnode ztnode-cli ztnode-generate; do
    [ -x "$compiled/$program" ] || die "$compiled/$program is not there"
done

say "staging"
rm -rf "$out"
mkdir -p "$stage/sbin" "$stage/bin" "$stage/names/sbin" "$stage/names/systemd"
# The build ID goes too: it is a checksum of what is stripped here, where the folder leaves traces.
strip -R .note.gnu.build-id -o "$stage/sbin/ztnode" "$compiled/ztnode"
strip -R .note.gnu.build-id -o "$stage/bin/ztnode-cli" "$compiled/ztnode-cli"
"$compiled/ztnode" --help | "$compiled/ztnode-generate" "$stage"
gzip -9n "$stage"/share/man/*/*
CARGO=$CARGO packaging/sbom "$target" >"$stage/share/doc/ztnode.cdx.json"
ln -s ztnode "$stage/names/sbin/zerotier-one"
ln -s ../bin/ztnode-cli "$stage/names/sbin/zerotier-cli"
ln -s ../bin/ztnode-cli "$stage/names/sbin/zerotier-idtool"
ln -s ztnode.service "$stage/names/systemd/zerotier-one.service"

tool cargo-deb $CARGO_DEB
for variant in '' names; do
    say "deb ${variant:-ztnode}"
    # Stripped already; the target only names the processor.
    "$tools/bin/cargo-deb" deb --quiet --package packaging --no-build --no-strip --no-separate-debug-symbols \
        --target "$target" ${variant:+--variant "$variant"} --output "$out/"
done

tool cargo-generate-rpm $CARGO_GENERATE_RPM
for variant in '' names; do
    say "rpm ${variant:-ztnode}"
    "$tools/bin/cargo-generate-rpm" generate-rpm --package packaging/generate --target "$target" \
        --source-date "$SOURCE_DATE_EPOCH" ${variant:+--variant "$variant"} --output "$out/"
done

say "tarball"
name=ztnode-$version-$(echo "$target" | cut -d- -f1)-linux
mkdir -p "$stage/$name"
cp -r "$stage/bin" "$stage/sbin" "$stage/share" "$stage/$name/"
cp -r packaging/systemd packaging/sysusers.d packaging/tmpfiles.d packaging/zerotier-names packaging/cloud-init "$stage/$name/"
# Beside the programs what there is to read; below share/doc nobody looks for it in an archive.
mv "$stage/$name/share/doc/"* "$stage/$name/"
rmdir "$stage/$name/share/doc"
cp packaging/tarball/install.sh "$stage/$name/"
tar -C "$stage" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -c "$name" |
    gzip -9n >"$out/$name.tar.gz"

say "folder for the image"
mkdir -p "$out/oci/root/usr/sbin" "$out/oci/root/usr/bin" "$out/oci/root/etc" "$out/oci/root/var/lib" "$out/oci/home"
cp "$stage/sbin/ztnode" "$out/oci/root/usr/sbin/"
cp "$stage/bin/ztnode-cli" "$out/oci/root/usr/bin/"
# What is written for the official image finds its names, and its volume.
for name in zerotier-cli zerotier-idtool; do ln -s ztnode-cli "$out/oci/root/usr/bin/$name"; done
ln -s ztnode "$out/oci/root/usr/sbin/zerotier-one"
ln -s ztnode "$out/oci/root/var/lib/zerotier-one"
echo 'ztnode:x:9993:9993:ztnode:/var/lib/ztnode:/usr/sbin/nologin' >"$out/oci/root/etc/passwd"
echo 'ztnode:x:9993:' >"$out/oci/root/etc/group"
# Without a distribution nobody else says whose certificates are good for https.
mkdir -p "$out/oci/root/etc/ssl/certs" "$out/oci/root/usr/share/doc/ztnode"
cp "$stage/certificates/ca-certificates.crt" "$out/oci/root/etc/ssl/certs/"
certificates=$(sed -n '/^name = "webpki-root-certs"/{n;s/^version = "\(.*\)"/\1/p;}' Cargo.lock)
find "${CARGO_HOME:-$HOME/.cargo}/registry/src" -path "*/webpki-root-certs-$certificates/LICENSE" \
    -exec cp {} "$out/oci/root/usr/share/doc/ztnode/ca-certificates.LICENSE" \;
jq --sort-keys --arg version "$certificates" '.components += [{ type: "data", name: "ca-certificates (webpki-root-certs)", version: $version,
    "bom-ref": "webpki-root-certs@\($version)", purl: "pkg:cargo/webpki-root-certs@\($version)",
    licenses: [{ license: { id: "CDLA-Permissive-2.0" } }] }]' \
    "$stage/share/doc/ztnode.cdx.json" >"$out/oci/root/usr/share/doc/ztnode/ztnode.cdx.json"
cp packaging/oci/Containerfile "$out/oci/"

(cd "$out" && sha256sum -- *.deb *.rpm *.tar.gz >SHA256SUMS)
say "in $out:"
(cd "$out" && ls -sh1 -- *.deb *.rpm *.tar.gz SHA256SUMS)
