#!/bin/sh
# Everything on this machine: secrets, images, a first caller's key (shown once), and all services, until they are well.
#   ./up.sh             with an NVIDIA GPU of 24 GB
#   ./up.sh cpu-demo    without one: the toy model that reads drawn nameplates
set -eu
profile=${1:-gpu}
case $profile in gpu | cpu-demo) ;; *) echo "up.sh: '$profile' is neither gpu nor cpu-demo" >&2 && exit 2 ;; esac
cd "$(dirname "$0")"
./secrets.sh
docker compose --profile "$profile" build
docker compose run --rm keys list > /dev/null 2>&1 || docker compose run --rm keys new --tenant default
docker compose --profile "$profile" up --detach --wait
echo "Sightline answers at http://localhost:${HTTP_PORT:-80}/v1 · Grafana: http://localhost:3000, admin, $PWD/secrets/grafana-password"
