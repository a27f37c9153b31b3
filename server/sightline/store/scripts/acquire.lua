-- Takes or renews a lease. KEYS: the lease. ARGV: the owner, milliseconds to live. Returns 1 when the owner holds it now.
-- What is no string was not put there by us, and would never expire by our hand: it is written over.
local held = redis.pcall('GET', KEYS[1])
if held and type(held) ~= 'table' and held ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
