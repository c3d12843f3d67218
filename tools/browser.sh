#!/bin/sh
# The browser tests drive Debian's chromium and look at Korean text: bring both if they are missing and we may.
set -eu
need=""
command -v chromium >/dev/null 2>&1 || need="chromium"
if ! ls /usr/share/fonts/truetype/nanum/*.ttf >/dev/null 2>&1; then need="$need fonts-nanum"; fi
[ -n "$need" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "The browser tests need:  sudo apt-get install -y $need" >&2
  exit 1
fi
apt-get update -qq
# shellcheck disable=SC2086 # a list of package names
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $need >/dev/null
