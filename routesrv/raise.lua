-- raise.lua raises roam:ep to the epoch of roam:loc, and never lowers it.
-- KEYS: roam:loc:{user} roam:ep:{user}, in one slot. ARGV: ttl-of-ep
-- It returns 1 when it had to, else 0. Of an epoch more than a year ahead of the clock see location.lua.
local epoch = redis.call('HGET', KEYS[1], 'epoch')
local at = tonumber(epoch or 0) or 0
if at > (tonumber(redis.call('TIME')[1]) + 365 * 86400) * 1000000 or at <= (tonumber(redis.call('GET', KEYS[2]) or 0) or 0) then
  return 0
end
redis.call('SET', KEYS[2], epoch, 'EX', ARGV[1])
return 1
