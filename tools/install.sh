#!/bin/sh
# Makes the virtual environment $1 with this machine's own Python and fills it from requirements.lock.
# PYTHON names the interpreter, EXTRAS the parts of the project to install.
set -eu
venv=$1
python=${PYTHON:-python3}
extras=${EXTRAS:-hub,lab,train,dev}

if ! command -v "$python" >/dev/null 2>&1; then
  echo "Dure needs Python 3.11 or newer, and '$python' is not on this machine." >&2
  echo "Install it:  sudo apt-get install -y python3 python3-venv" >&2
  exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "Dure needs Python 3.11 or newer; '$python' is $("$python" -V)." >&2
  echo "Name a newer one:  make up PYTHON=python3.12" >&2
  exit 1
fi
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  echo "This Python cannot make virtual environments: its venv package is missing." >&2
  echo "Install it:  sudo apt-get install -y python$version-venv" >&2
  exit 1
fi
if [ ! -x "$venv/bin/uv" ]; then
  echo "Making $venv with $("$python" -V) ..."
  "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --constraint requirements.lock uv
fi
echo "Installing what requirements.lock names (the first time: some minutes and 7 GB, most of it torch) ..."
sh tools/uv.sh "$venv" pip install --quiet --python "$venv/bin/python" \
  --constraints requirements.lock --editable ".[$extras]"
