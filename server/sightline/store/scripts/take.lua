-- Looks values up and takes from limits, all or nothing, in one round trip. A hit takes no slot, and costs only what costs on hits too.
-- KEYS: look-ups, rates, slots. ARGV: how many look-ups, how many rates, now ('' for the server's clock), last byte sent of a
--   value, 1 if a value under the first key is a hit;
--   for each rate: limit, period, 1 if it comes back whole, cost, 1 if charged on hits too; for each slot: limit, owner, lease (seconds).
-- Returns {now, 1 or 0, values…, used…, slots held by others…}; numbers as text, since Redis cuts fractions off.
-- The arithmetic is gcra.py's, in the same order.
local lookups, rates = tonumber(ARGV[1]), tonumber(ARGV[2])
local now = tonumber(ARGV[3])
if not now then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
end
local answer = {string.format('%.17g', now), 1}

for i = 1, lookups do
  local value = redis.pcall('GETRANGE', KEYS[i], 0, ARGV[4])
  answer[#answer + 1] = type(value) == 'string' and value ~= '' and value or false
end
local hit = ARGV[5] == '1' and lookups > 0 and answer[3] ~= false

local levels = {}
for i = 1, rates do
  local at = 5 + (i - 1) * 5
  local rate = {key = KEYS[lookups + i], limit = tonumber(ARGV[at + 1]), period = tonumber(ARGV[at + 2]), whole = ARGV[at + 3] == '1'}
  rate.cost = (hit and ARGV[at + 5] ~= '1') and 0 or tonumber(ARGV[at + 4])
  local stored = redis.pcall('GET', rate.key)
  local used, since = string.match(type(stored) == 'string' and stored or '', '^(%S+) (%S+)$')
  rate.at = rate.whole and math.floor(now / rate.period) * rate.period or now
  local elapsed = math.max(0, rate.at - (tonumber(since) or 0))
  rate.used = math.max(0, (tonumber(used) or 0) - elapsed * rate.limit / rate.period)
  answer[#answer + 1] = string.format('%.17g', rate.used)
  if rate.cost > 0 and rate.used + rate.cost > rate.limit then answer[2] = 0 end
  levels[i] = rate
end

local slots = {}
if not hit then
  for i = 1, #KEYS - lookups - rates do
    local at = 5 + rates * 5 + (i - 1) * 3
    local slot = {key = KEYS[lookups + rates + i], owner = ARGV[at + 2], lease = tonumber(ARGV[at + 3])}
    -- A lease that ran out, or one further away than any lease reaches (the clock has gone back), is a dead replica's.
    redis.call('ZREMRANGEBYSCORE', slot.key, '-inf', string.format('%.17g', now))
    redis.call('ZREMRANGEBYSCORE', slot.key, string.format('(%.17g', now + slot.lease), '+inf')
    local held = redis.call('ZCARD', slot.key)
    if redis.call('ZSCORE', slot.key, slot.owner) then held = held - 1 end
    answer[#answer + 1] = held
    if held >= tonumber(ARGV[at + 1]) then answer[2] = 0 end
    slots[i] = slot
  end
end

if answer[2] == 1 then
  for _, rate in ipairs(levels) do
    if rate.cost > 0 then
      rate.used = rate.used + rate.cost
      local left = rate.limit > 0 and rate.used * rate.period / rate.limit or 0
      if rate.whole then left = left + rate.period end
      redis.call('SET', rate.key, string.format('%.17g %.17g', rate.used, rate.at), 'PX', string.format('%.0f', left * 1000 + 1000))
    end
  end
  for _, slot in ipairs(slots) do
    redis.call('ZADD', slot.key, string.format('%.17g', now + slot.lease), slot.owner)
    redis.call('PEXPIRE', slot.key, string.format('%.0f', slot.lease * 1000 + 1000))
  end
end
return answer
