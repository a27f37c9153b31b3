#!/bin/sh
# Installs Sightline on this machine for systemd, as root, from a checkout: /opt/sightline (the program), /etc/sightline (settings and
# secrets), /var/lib/sightline (callers' keys), the user `sightline`, and two units. Once more, it takes the checkout's version and leaves
# settings, secrets and keys as they are. Starts nothing; PYTHON=python3.12 chooses another Python (3.11 or newer).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
[ "$(id -u)" = 0 ] || { echo "install.sh: run it as root" >&2; exit 1; }

id -u sightline > /dev/null 2>&1 || useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin sightline
[ -x /opt/sightline/bin/python ] || "${PYTHON:-python3}" -m venv /opt/sightline
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work"
"$work/bin/python" -m pip install --quiet --only-binary :all: --require-hashes -r "$root/requirements/build.txt"
"$work/bin/python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$work/dist" "$root"
/opt/sightline/bin/python -m pip install --quiet --only-binary :all: --require-hashes -r "$root/requirements/gateway.txt"
/opt/sightline/bin/python -m pip install --quiet --no-deps --force-reinstall "$work"/dist/*.whl

install -d -m 755 /etc/sightline
install -d -m 700 -o sightline -g sightline /var/lib/sightline
[ -e /etc/sightline/sightline.env ] || install -m 644 "$here/sightline.env" /etc/sightline/sightline.env
[ -s /etc/sightline/engine-key ] || (umask 077 && od -An -vtx1 -N32 /dev/urandom | tr -d ' \n' > /etc/sightline/engine-key)
install -m 644 "$here/sightline.service" "$here/sightline-engine.service" /etc/systemd/system/
[ ! -d /run/systemd/system ] || systemctl daemon-reload

cat << 'DONE'
Sightline is installed. Next:
  sudo -u sightline /opt/sightline/bin/sightline keys new --tenant acme --file /var/lib/sightline/keys.yaml    # prints the key, once
  sudo systemctl enable --now sightline-engine sightline      # without the engine: name yours in /etc/sightline/sightline.env
  journalctl -fu sightline-engine                             # the first start installs vLLM and downloads the model
DONE
