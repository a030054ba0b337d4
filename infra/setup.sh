#!/bin/sh
# Makes a Debian machine ready for Mayfly: system packages, Node packages (Node 26 among them), native programs; for the tests
# a k6, too.
#
#   sh infra/setup.sh [--with-tests] [--with-peers]
#
# It does only what is missing, says a line for each thing that it does, and is silent and quick when nothing is. It starts
# no service. Several set-ups at the same time wait for each other.
set -eu
# Whatever the caller's is: the gateway reads what is installed here as an unprivileged user.
umask 022
CDPATH='' cd "$(dirname "$0")/.."

# A word a package: its name, and the file of it that Mayfly uses. The package is missing when the file is.
packages="
redis-server:/usr/bin/redis-server
runc:/usr/sbin/runc
docker-registry:/usr/bin/docker-registry
busybox-static:/bin/busybox
golang-github-containers-common:/usr/share/containers/seccomp.json
umoci:/usr/bin/umoci
skopeo:/usr/bin/skopeo
gcc:/usr/bin/gcc
libc6-dev:/usr/include/stdio.h
make:/usr/bin/make
libarchive-dev:/usr/include/archive.h
libseccomp-dev:/usr/include/seccomp.h
libisal-dev:/usr/include/isa-l/igzip_lib.h
libzstd-dev:/usr/include/zstd.h
libssl-dev:/usr/include/openssl/evp.h
"
test_packages="
clang:/usr/bin/clang
libclang-rt-14-dev:/usr/lib/llvm-14/lib/clang/14.0.6/lib/linux
crun:/usr/bin/crun
apache2-utils:/usr/bin/htpasswd
iproute2:/usr/sbin/ip
python3:/usr/bin/python3
openssl:/usr/bin/openssl
libarchive-tools:/usr/bin/bsdtar
libcap2-bin:/usr/sbin/setcap
debootstrap:/usr/sbin/debootstrap
buildah:/usr/bin/buildah
docker.io:/usr/sbin/dockerd
"
# What the benchmark measures Mayfly against. None of it is needed for anything else.
peer_packages="
docker.io:/usr/sbin/dockerd
containerd:/usr/bin/containerd
podman:/usr/bin/podman
crun:/usr/bin/crun
bubblewrap:/usr/bin/bwrap
"

policy=/usr/sbin/policy-rc.d
policy_mark="# Mayfly's set-up made this file and removes it."
policy_is_ours=no
with_tests=no
log=

say() { printf 'setup: %s\n' "$*"; }

fail() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

tidy() {
  if [ "$policy_is_ours" = yes ]; then rm -f "$policy"; fi
  if [ -n "$log" ]; then rm -f "$log"; fi
}
trap tidy EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Runs a command whose output matters only if it fails. It does not inherit the locks: what it leaves behind could hold them.
quietly() {
  [ -n "$log" ] || log=$(mktemp)
  if ! "$@" >"$log" 2>&1 </dev/null 8<&- 9<&-; then
    cat "$log" >&2
    fail "this failed: $*"
  fi
}

missing_packages() {
  for package in $packages; do
    [ -e "${package#*:}" ] || printf '%s ' "${package%%:*}"
  done
}

# A service that a package brings would take its usual port and run with its usual configuration: Mayfly starts its own.
forbid_services() {
  if [ -e "$policy" ] && ! grep -qF "$policy_mark" "$policy"; then return; fi
  policy_is_ours=yes
  printf '#!/bin/sh\n%s\nexit 101\n' "$policy_mark" >"$policy"
  chmod 755 "$policy"
}

allow_services() {
  if [ "$policy_is_ours" = yes ]; then rm -f "$policy"; fi
  policy_is_ours=no
}

# A package list that cannot be fetched, of some other source perhaps, is no failure yet: the installation tells.
apt_install() {
  apt-get update -q -o DPkg::Lock::Timeout=300 || :
  apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
}

install_packages() {
  exec 8</usr/sbin
  flock 8
  missing=$(missing_packages) # Another set-up may have installed them while this one waited.
  if [ -n "$missing" ]; then
    say "installing ${missing% }"
    export DEBIAN_FRONTEND=noninteractive
    forbid_services
    # shellcheck disable=SC2086 # It is a list.
    quietly apt_install $missing
    allow_services
  fi
  exec 8<&-
}

system_packages() {
  missing=$(missing_packages)
  [ -n "$missing" ] || return 0
  command -v apt-get >/dev/null || fail "this is not Debian; install these by hand: ${missing% } (as Debian names them)"
  [ "$(id -u)" = 0 ] || fail "not root; install these by hand: apt-get install --no-install-recommends ${missing% }"
  install_packages
  missing=$(missing_packages)
  [ -z "$missing" ] || fail "installed, but without the file that Mayfly uses: ${missing% }"
}

# npm's own record is younger than the lock after any npm install or npm ci. A checkout makes the lock younger again, though
# often no different: so its checksum is kept too.
node_packages_are_current() {
  [ -x node_modules/.bin/node ] || return 1
  [ ! node_modules/.package-lock.json -nt package-lock.json ] || return 0
  [ "$(cat node_modules/.mayfly-lock 2>/dev/null)" = "$(cksum <package-lock.json)" ]
}

node_packages() {
  ! node_packages_are_current || return 0
  say "installing the Node packages"
  fetch_packages
  case $(node_modules/.bin/node --version 2>/dev/null) in
    v2[6-9].* | v[3-9]?.*) ;;
    *) fail "npm has not brought Node 26 to node_modules/.bin/node" ;;
  esac
  cksum <package-lock.json >node_modules/.mayfly-lock
}

# npm leaves out, without a word, the native parts of packages that do not go with the Node that npm itself runs on. An older
# Node, such as Debian 12's own, only fetches a Node and an npm of today, which then do the work.
fetch_packages() {
  if ! node_is_recent; then
    quietly npm install --prefix .tools --no-save --no-package-lock --no-audit --no-fund --loglevel=error node@26 npm@11
    PATH=$PWD/.tools/node_modules/.bin:$PATH
  fi
  quietly npm ci --include=dev --include=optional --no-audit --no-fund --loglevel=error
}

# What the packages ask for: 20.19, 22.12, or later.
node_is_recent() {
  node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 22 || (a == 22 && b >= 12) || (a == 20 && b >= 19) ? 0 : 1)'
}

native_programs() {
  ! make -q -C runtime >/dev/null 2>&1 9<&- || return 0
  say "building the native programs"
  quietly make -C runtime
}

# It says itself what it does.
load_generator() {
  [ "$with_tests" = yes ] || return 0
  sh loadtest/install-k6.sh 9<&-
}

for argument in "$@"; do
  case $argument in
    --with-tests)
      packages="$packages $test_packages"
      with_tests=yes
      ;;
    --with-peers) packages="$packages $peer_packages" ;;
    *) fail "unknown argument $argument; there are --with-tests, --with-peers" ;;
  esac
done
[ "$(uname -s)" = Linux ] || fail "Mayfly runs containers with Linux' own means: it needs Linux"
command -v npm >/dev/null || fail "npm is missing: install Debian's package npm, or Node from elsewhere"
exec 9<. # The folder itself is the lock.
flock -n 9 || {
  say "waiting for another set-up of this folder"
  flock 9
}
system_packages
node_packages
native_programs
load_generator
