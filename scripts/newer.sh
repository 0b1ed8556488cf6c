#!/bin/sh
# Unpack programs from a newer Debian than this machine's, for tests that want the real thing: the
# system's own packages and sources stay as they are. Usage: scripts/newer.sh SUITE PACKAGE...
# Each lands in .cache/newer/SUITE/ as it would in / (usr/bin, usr/libexec…). Only programs that ask
# no newer C library than this machine's are worth it: those of Docker, buildx and compose do.
set -eu
cd "$(dirname "$0")/.."
suite=$1
shift
target=$PWD/.cache/newer/$suite
state=$PWD/.cache/newer/apt-$suite
wanted=""
for package in "$@"; do
    [ -e "$target/.$package" ] || wanted="$wanted $package"
done
[ -n "$wanted" ] || exit 0

mkdir -p "$target" "$state/lists/partial" "$state/archives/partial"
# the mirror that this machine's own packages come from
mirror=${MIRROR:-$(apt-get indextargets --format '$(REPO_URI) $(LABEL)' 'Created-By: Packages' |
    awk '$2 == "Debian" { print $1; exit }')}
[ -n "$mirror" ] || { echo "newer: apt knows no mirror of Debian: set MIRROR" >&2; exit 1; }
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keyring] $mirror $suite main" >"$state/sources.list"
newer_apt() {
    apt-get -qq \
        -o Dir::Etc::SourceList="$state/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$state/lists" -o Dir::Cache="$state" \
        -o Dir::Cache::Archives="$state/archives" -o APT::Sandbox::User=root \
        -o Acquire::Languages=none -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false \
        "$@"
}
newer_apt update
cd "$state/archives"
for package in $wanted; do
    newer_apt download "$package"
    dpkg-deb -x "$package"_*.deb "$target"
    rm -f "$package"_*.deb
    touch "$target/.$package"
done
rm -rf "$state"
