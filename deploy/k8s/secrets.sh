#!/bin/sh
# Prints the two Secrets that the gateways, the engines and Redis read, with new random keys. Made once for a namespace:
#   deploy/k8s/secrets.sh | kubectl create -f -                  for overlays with one Redis
#   deploy/k8s/secrets.sh --redis-ha | kubectl create -f -       for overlays/redis-ha
#   KEYS=keys.yaml deploy/k8s/secrets.sh | kubectl create -f -   with callers' keys made before (`sightline keys new --file keys.yaml`)
# `create` and not `apply`: that would keep a copy of them in an annotation.
set -eu
store=sightline-redis:6379/0 scheme=redis
case "${1:-}" in
  '') ;;
  --redis-ha)
    scheme=redis+sentinel
    store=sightline-redis-ha-0.sightline-redis-ha:26379,sightline-redis-ha-1.sightline-redis-ha:26379,sightline-redis-ha-2.sightline-redis-ha:26379/sightline/0
    ;;
  *) sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
random() { head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
password=$(random)
if [ -n "${KEYS:-}" ]; then keys=$(sed 's/^/    /' "$KEYS"); else keys='    keys: []'; fi
cat << END
apiVersion: v1
kind: Secret
metadata: {name: sightline-secrets, namespace: ${NAMESPACE:-sightline}}
stringData:
  engine-key: "$(random)"
  redis-password: "$password"
  store-url: "$scheme://:$password@$store"
---
apiVersion: v1
kind: Secret
metadata: {name: sightline-keys, namespace: ${NAMESPACE:-sightline}}
stringData:
  keys.yaml: |
$keys
END
