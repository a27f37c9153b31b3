-- Takes members whose values have been removed out of a group, unless they have been stored anew since (their score has changed).
-- KEYS: the group. ARGV: member, score, member, score …
for i = 1, #ARGV, 2 do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) == ARGV[i + 1] then redis.call('ZREM', KEYS[1], ARGV[i]) end
end
return 1
