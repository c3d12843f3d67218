#!/bin/sh
# Brings the Debian packages named in the arguments: those that are missing, if we may; else says the one command.
set -eu

has() {
  for program in "$@"; do
    if command -v "$program" >/dev/null 2>&1; then return 0; fi
  done
  return 1
}

# A package counts as there when what it is for is there, wherever that came from.
present() {
  case $1 in
    chromium) [ -n "${DURE_CHROMIUM:-}" ] || has chromium chromium-browser google-chrome ;;
    fonts-nanum) ls /usr/share/fonts/truetype/nanum/*.ttf >/dev/null 2>&1 || [ -n "$(fc-list :lang=ko 2>/dev/null)" ] ;;
    nginx-light) PATH="$PATH:/usr/sbin:/usr/local/sbin" has nginx ;;
    slapd) PATH="$PATH:/usr/sbin:/usr/local/sbin" has slapd ;;
    debootstrap) PATH="$PATH:/usr/sbin" has debootstrap ;;
    runc) PATH="$PATH:/usr/sbin" has runc ;;
    containernetworking-plugins) [ -x /usr/lib/cni/bridge ] ;;
    nftables) PATH="$PATH:/usr/sbin:/sbin" has nft ;;
    iproute2) PATH="$PATH:/usr/sbin:/sbin" has ip ;;
    postgresql) ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || has initdb ;;
    *) has "$1" ;;
  esac
}

need=""
for package in "$@"; do
  present "$package" || need="$need $package"
done
[ -n "$need" ] || exit 0
if [ "$(id -u)" != 0 ] || ! has apt-get; then
  echo "Missing on this machine; install with:  sudo apt-get install -y$need" >&2
  exit 1
fi
echo "Installing Debian's$need ..."
apt-get update -qq
# The tests start a server of their own. Debian's "main" one is not made along with the package, and so none runs; who
# wants it later makes it with pg_createcluster.
no_main=/etc/postgresql-common/createcluster.d/dure.conf
case $need in
  *postgresql*)
    trap 'rm -f "$no_main"' EXIT
    mkdir -p "${no_main%/*}"
    echo "create_main_cluster = false" >"$no_main"
    ;;
esac
# Nor is a directory made along with slapd; without one, Debian's service does not start.
case $need in
  *slapd*) echo "slapd slapd/no_configuration boolean true" | debconf-set-selections ;;
esac
# shellcheck disable=SC2086 # a list of package names
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $need >/dev/null
