# Sourced by the scripts beside it: where things are, and how to speak.

set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Go wants a home even where there is nobody's.
export HOME=${HOME:-/root}

# Downloads and what is made of them live outside the tree, so that a fresh
# clone starts as quickly as an old one.
cache=${GOVMD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/govmd}
export GOVMD_CACHE=$cache

# A non-login shell often has no Go and no sbin in its PATH.
export PATH=$PATH:/usr/local/go/bin:/usr/local/sbin:/usr/sbin:/sbin

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }

# build_tool NAME PACKAGE: builds a helper program of ours into bin/. Static, as
# some of them run where there is nothing else. Go does nothing when it is fresh.
build_tool() {
	(cd "$project" && CGO_ENABLED=0 go build -buildvcs=false -o "bin/$1" "$2") ||
		die "building $2 failed"
}
