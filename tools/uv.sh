#!/bin/sh
# Runs the uv of the virtual environment $1 with the other arguments, and with the index that pip is set to: uv does
# not read pip's settings. It never brings a Python of its own.
set -eu
bin=$1/bin
shift
if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
  # sorted, so what is for `install` comes last; `pip config get` would not look into every file
  listed=$("$bin/python" -m pip config list 2>/dev/null | sed -nE "s/^(global|install)\.index-url='(.*)'\$/\2/p" | tail -n 1)
  index=${PIP_INDEX_URL:-$listed}
  if [ -n "$index" ]; then export UV_DEFAULT_INDEX="$index"; fi
fi
export UV_PYTHON_DOWNLOADS=never
exec "$bin/uv" "$@"
