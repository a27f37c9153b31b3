-- Gives a lease back if the owner still holds it. KEYS: the lease. ARGV: the owner.
if redis.pcall('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
