#!/bin/sh
# Installs the programs that the tests start as real parts, on Debian and Ubuntu, if they are missing. Starts no service.
set -eu
missing=
need() { command -v "$1" > /dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing="$missing $2"; }
need redis-server redis-server
need redis-sentinel redis-sentinel
need nginx nginx-light
need ip iproute2
need openssl openssl
need curl curl
need prometheus prometheus
need systemd-analyze systemd
[ -n "$missing" ] || exit 0
echo "installing$missing"
if [ "$(id -u)" != 0 ]; then
  echo "These programs are missing:$missing. As root: apt-get install$missing" >&2
  exit 1
fi
# Debian starts a service when it is installed unless policy-rc.d forbids that; only the programs are wanted.
policy=/usr/sbin/policy-rc.d
made=
[ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' > $policy; chmod +x $policy; made=1; }
log=$(mktemp)
status=0
# shellcheck disable=SC2086 # several words are meant
{ apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends $missing; } > "$log" 2>&1 || status=$?
[ -z "$made" ] || rm -f $policy
if [ $status != 0 ]; then
  tail -n 5 "$log" >&2
  echo "apt-get could not install$missing" >&2
  exit 1
fi
rm -f "$log"
