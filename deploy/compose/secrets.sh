#!/bin/sh
# Makes the secrets that the containers share, in secrets/, if they are not there: the engine's key, Redis's password and the URL that
# holds it, Grafana's admin password. The folder is for its owner; the files can be read by the containers' users, which it keeps apart.
set -eu
cd "$(dirname "$0")"
umask 022
mkdir -p secrets certs
chmod 700 secrets
random() { od -An -vtx1 -N32 /dev/urandom | tr -d ' \n'; }
[ -s secrets/engine-key ] || random > secrets/engine-key
[ -s secrets/grafana-password ] || random > secrets/grafana-password
[ -s secrets/redis-password ] || random > secrets/redis-password
printf 'redis://:%s@redis:6379/0' "$(cat secrets/redis-password)" > secrets/store-url
