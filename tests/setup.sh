#!/bin/sh
# Installs what the build and the tests need, and says what. Nothing missing: one line, no package
# manager is called. Without root: prints the one line to run and exits 1.
# Debian and Ubuntu (apt) are tested; Fedora (dnf) and macOS (brew) are written and untested.
set -eu

say() { printf 'setup: %s\n' "$*"; }

# tool:package for programs (any provider will do), bare names for libraries.
tools_apt="gcc:gcc g++:g++ make:make pkg-config:pkg-config git:git zstd:zstd"
libs_apt="libyaml-dev libcjson-dev libzstd-dev libgit2-dev libssl-dev libsentencepiece-dev \
zlib1g-dev liblapack-dev libblas-dev libcurl4-openssl-dev libcmocka-dev"
tools_dnf="gcc:gcc g++:gcc-c++ make:make pkg-config:pkgconf-pkg-config git:git zstd:zstd"
libs_dnf="libyaml-devel cjson-devel libzstd-devel libgit2-devel openssl-devel \
sentencepiece-devel zlib-static lapack-static blas-static libgfortran libcurl-devel libcmocka-devel"
tools_brew="make:make pkg-config:pkgconf git:git zstd:zstd"
libs_brew="libyaml cjson zstd libgit2 openssl@3 sentencepiece zlib lapack curl cmocka"

if command -v apt-get >/dev/null 2>&1; then
    manager=apt tools=$tools_apt libs=$libs_apt
elif command -v dnf >/dev/null 2>&1; then
    manager=dnf tools=$tools_dnf libs=$libs_dnf
elif command -v brew >/dev/null 2>&1; then
    manager=brew tools=$tools_brew libs=$libs_brew
else
    say "no apt-get, dnf or brew here; install these by hand: a C and a C++ compiler, make," \
        "pkg-config, git, zstd, libyaml, cJSON, libzstd, libgit2, OpenSSL, zlib, SentencePiece, LAPACK, libcurl, cmocka" >&2
    exit 1
fi

has_package() {
    case $manager in
    # A package may be here for other architectures too.
    apt)
        dpkg-query -W -f='${db:Status-Status} ${Architecture}\n' "$1" 2>/dev/null |
            grep -qxE "installed ($(dpkg --print-architecture)|all)"
        ;;
    dnf) rpm -q "$1" >/dev/null 2>&1 ;;
    brew) brew list --versions "$1" >/dev/null 2>&1 ;;
    esac
}

missing=
for pair in $tools; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done
for package in $libs; do
    has_package "$package" || missing="$missing $package"
done
missing=${missing# }

if [ -z "$missing" ]; then
    say "nothing to install"
    exit 0
fi

case $manager in
apt) command="apt-get install -y --no-install-recommends $missing" ;;
dnf) command="dnf install -y $missing" ;;
brew) command="brew install $missing" ;;
esac

if [ "$manager" != brew ] && [ "$(id -u)" -ne 0 ]; then
    say "these packages are missing and installing them needs root; run:" >&2
    if [ "$manager" = apt ]; then
        printf 'sudo apt-get update && sudo %s\n' "$command" >&2
    else
        printf 'sudo %s\n' "$command" >&2
    fi
    exit 1
fi

say "installing: $missing"
if [ "$manager" = apt ]; then
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
    apt-get update -qq
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    # The list is meant to fall apart into words.
    # shellcheck disable=SC2086
    $command
fi
for package in $libs; do
    has_package "$package" || { say "$package is still missing after the installation" >&2; exit 1; }
done
say "done"
