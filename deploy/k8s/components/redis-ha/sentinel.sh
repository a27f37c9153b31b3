#!/bin/sh
# Starts this pod's Sentinel: it watches the primary that its fellows know, or the first pod's Redis where none of them does. Sentinels talk
# to each other by host names, since a pod that comes back has another address; they cannot start while the primary's does not resolve.
#   SELF, FIRST, SENTINELS   host:port of this Sentinel, of the first Redis, and of all Sentinels, separated by spaces
#   SECRETS, WORK            folders: one with redis-password, one to write to
set -eu
umask 077
primary=
until [ -n "$primary" ]; do
  for sentinel in $SENTINELS; do
    [ "$sentinel" != "$SELF" ] || continue
    said=$(timeout 2 redis-cli -h "${sentinel%:*}" -p "${sentinel##*:}" sentinel get-master-addr-by-name sightline 2> /dev/null) || continue
    # shellcheck disable=SC2086 # two words, host and port
    set -- $said
    [ $# != 2 ] || { primary="$1:$2"; break; }
  done
  : "${primary:=$FIRST}"
  getent hosts "${primary%:*}" > /dev/null || { primary=; sleep 1; }
done
cat > "$WORK/sentinel.conf" << END
port ${SELF##*:}
dir $WORK
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel announce-ip ${SELF%:*}
sentinel announce-port ${SELF##*:}
sentinel monitor sightline ${primary%:*} ${primary##*:} 2
sentinel auth-pass sightline $(cat "$SECRETS/redis-password")
sentinel down-after-milliseconds sightline ${DOWN_AFTER:-5000}
sentinel failover-timeout sightline 10000
sentinel parallel-syncs sightline 1
END
echo "sentinel: $SELF watches $primary"
exec redis-sentinel "$WORK/sentinel.conf"
