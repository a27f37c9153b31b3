-- Makes ARGV[1] a member of each group, then stores its value: in this order, so that `forget` can find every value that is there.
-- KEYS: the groups and, when there is a value, last the value's own key. ARGV: the member, milliseconds to live, the value if any.
--
-- A group is a sorted set of members by the moment (microseconds) from which they may be trimmed: a minute after they have expired.
-- A score always changes, so that a concurrent `forget` sees that the member has been stored anew, and leaves it.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ttl = tonumber(ARGV[2])
local last = #KEYS
if ARGV[3] then last = last - 1 end
for i = 1, last do
  local group = KEYS[i]
  local old = redis.pcall('ZSCORE', group, ARGV[1])
  if type(old) == 'table' then -- something else lies under our key
    redis.call('DEL', group)
    old = nil
  end
  local score = now + ttl * 1000 + 60000000
  if old and tonumber(old) == score then score = score + 1 end
  redis.call('ZADD', group, string.format('%.0f', score), ARGV[1]) -- first of the writes: a full Redis refuses only that
  redis.call('ZREMRANGEBYSCORE', group, '-inf', string.format('%.0f', now))
  if redis.call('PTTL', group) < ttl + 60000 then redis.call('PEXPIRE', group, string.format('%.0f', ttl + 60000)) end
end
if ARGV[3] then redis.call('SET', KEYS[#KEYS], ARGV[3], 'PX', ARGV[2]) end
return 1
