-- Corrects what was taken: adds a change (which may be negative) to each rate, and gives each slot back or renews its lease.
-- KEYS: rates, slots. ARGV: how many rates, now ('' for the server's clock);
--   for each rate: limit, period, 1 if it comes back whole, change; for each slot: owner, lease in seconds (0 gives it back).
-- The arithmetic is gcra.py's `changed`, in the same order.
local rates = tonumber(ARGV[1])
local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
end

for i = 1, rates do
  local n = 2 + (i - 1) * 4
  local limit, period, whole = tonumber(ARGV[n + 1]), tonumber(ARGV[n + 2]), ARGV[n + 3] == '1'
  local stored = redis.pcall('GET', KEYS[i])
  local used, since = string.match(type(stored) == 'string' and stored or '', '^(%S+) (%S+)$')
  local at = whole and math.floor(now / period) * period or now
  local elapsed = math.max(0, at - (tonumber(since) or 0))
  used = math.max(0, (tonumber(used) or 0) - elapsed * limit / period)
  used = math.max(0, used + tonumber(ARGV[n + 4]))
  if used > 0 and limit > 0 then
    local left = used * period / limit
    if whole then left = left + period end
    redis.call('SET', KEYS[i], string.format('%.17g %.17g', used, at), 'PX', string.format('%.0f', left * 1000 + 1000))
  else
    redis.call('DEL', KEYS[i])
  end
end

for i = rates + 1, #KEYS do
  local n = 2 + rates * 4 + (i - rates - 1) * 2
  local owner, lease = ARGV[n + 1], tonumber(ARGV[n + 2])
  if lease > 0 then
    redis.call('ZADD', KEYS[i], string.format('%.17g', now + lease), owner)
    redis.call('PEXPIRE', KEYS[i], string.format('%.0f', lease * 1000 + 1000))
  else
    redis.call('ZREM', KEYS[i], owner)
  end
end
return 1
