#!/bin/sh
# Starts this pod's Redis: behind the primary that the Sentinels know, or, where there are none to ask yet, behind the first pod; if that
# is this one, as the primary. Nothing is kept on disk: a primary that comes back before anybody missed it comes back empty.
#   SELF, FIRST, SENTINELS   host:port of this Redis, of the first one, and of all Sentinels, separated by spaces
#   SECRETS, WORK            folders: one with redis-password, one to write to
set -eu
umask 077
password=$(cat "$SECRETS/redis-password")
primary=
for sentinel in $SENTINELS; do
  said=$(timeout 2 redis-cli -h "${sentinel%:*}" -p "${sentinel##*:}" sentinel get-master-addr-by-name sightline 2> /dev/null) || continue
  # shellcheck disable=SC2086 # two words, host and port
  set -- $said
  [ $# != 2 ] || { primary="$1:$2"; break; }
done
: "${primary:=$FIRST}"
cat > "$WORK/redis.conf" << END
port ${SELF##*:}
dir $WORK
save ""
appendonly no
repl-diskless-sync yes
repl-diskless-sync-delay 0
repl-diskless-load swapdb
replica-announce-ip ${SELF%:*}
replica-announce-port ${SELF##*:}
requirepass $password
masterauth $password
maxmemory ${MAXMEMORY:-1gb}
maxmemory-policy allkeys-lru
END
[ "$primary" = "$SELF" ] || echo "replicaof ${primary%:*} ${primary##*:}" >> "$WORK/redis.conf"
echo "redis: $SELF behind $primary"
exec redis-server "$WORK/redis.conf"
