#!/bin/sh
# Builds k6, the load generator, from its Go module into .tools/bin/k6, and its Go first if this machine has none.
#
#   sh loadtest/install-k6.sh
#
# It does only what is missing, says a line for each thing that it does, and is silent and quick when nothing is. It needs Go,
# and Go's module proxy. The Go of Debian 12 (1.19) cannot build a k6 of today, so there are two versions: today's, and the
# last one that Debian's Go builds. The scripts in loadtest/k6/ run on both.
set -eu
umask 022
CDPATH='' cd "$(dirname "$0")/.."

k6=.tools/bin/k6
today=v1.8.1
today_needs=25 # Go 1.25
debians=v0.47.0
debians_needs=19 # Go 1.19

work=
say() { printf 'k6: %s\n' "$*"; }

fail() {
  printf 'k6: %s\n' "$*" >&2
  exit 1
}

tidy() {
  if [ -n "$work" ]; then rm -rf "$work"; fi
}
trap tidy EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Runs a command whose output matters only if it fails.
quietly() {
  if ! "$@" >"$work/log" 2>&1 </dev/null; then
    tail -n 40 "$work/log" >&2
    fail "this failed: $*"
  fi
}

is_installed() {
  [ -x $k6 ] || return 1
  case $($k6 version 2>/dev/null) in
    "k6 $today "* | "k6 $debians "*) return 0 ;;
    *) return 1 ;;
  esac
}

# The minor version of a Go, such as 26 of go1.26.8; 0 if there is none. A Go of tomorrow (`devel go1.27-…`) has one too.
minor_of() {
  minor=$("$1" env GOVERSION 2>/dev/null | sed -n 's/.*go1\.\([0-9][0-9]*\).*/\1/p')
  printf '%s' "${minor:-0}"
}

# The newest Go among those in the usual places.
find_go() {
  go=
  go_minor=0
  for candidate in go /usr/local/go/bin/go /usr/lib/go/bin/go; do
    minor=$(minor_of "$candidate")
    if [ "$minor" -gt "$go_minor" ]; then
      go=$candidate
      go_minor=$minor
    fi
  done
}

# golang-go brings no service; other set-ups of the machine may hold apt's lock for a while.
install_go() {
  command -v apt-get >/dev/null || fail "there is no Go from 1.$debians_needs on, and this is not Debian: install Go by hand"
  [ "$(id -u)" = 0 ] || fail "there is no Go from 1.$debians_needs on; not root, so install it by hand: apt-get install golang-go"
  say "installing golang-go"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q -o DPkg::Lock::Timeout=300 >/dev/null 2>&1 || :
  quietly apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 golang-go
}

# GOTOOLCHAIN=local: the Go that is here builds it, or nobody. What Go fetches and builds on the way stays in its own caches.
build() {
  say "building k6 $1 with Go 1.$go_minor: a minute or two the first time"
  quietly env -u GOROOT GOBIN="$work/bin" GOFLAGS=-buildvcs=false GOTOOLCHAIN=local CGO_ENABLED=0 \
    HOME="${HOME:-$work}" "$go" install "go.k6.io/k6@$1"
  mkdir -p .tools/bin
  mv "$work/bin/k6" $k6
}

! is_installed || exit 0
mkdir -p .tools
work=$(mktemp -d "$PWD/.tools/k6-XXXXXX")
find_go
if [ "$go_minor" -lt $debians_needs ]; then
  install_go
  find_go
fi
if [ "$go_minor" -ge $today_needs ]; then
  build $today
elif [ "$go_minor" -ge $debians_needs ]; then
  build $debians
else
  fail "Debian's golang-go has brought no Go from 1.$debians_needs on"
fi
