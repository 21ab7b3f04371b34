-- location.lua writes or removes one user's location, and is the only thing that does.
-- KEYS: roam:loc:{user} roam:ep:{user} roam:moves:{user}, all in one slot.
-- ARGV: user epoch office sw reg dev since sig why ttl-of-loc ttl-of-ep moves-kept
--
-- It applies what has a higher epoch than any before, or the same epoch and office: a
-- repetition. All else is refused. Epoch 0 asks for one to be drawn, for a user whose home
-- draws none. No office removes: the record stays, as the word of that epoch. An epoch more
-- than a year ahead of the clock is no home's: as what stands it is nothing, as what is given
-- an error. Else who writes one near 2^53 would leave the user's home none above it.
-- It returns "epoch move" when it applies, or {1, epoch, fields and values} when some of those
-- stand that were not given; when it refuses {0, the highest epoch, fields and values}.
local loc, ep, moves = KEYS[1], KEYS[2], KEYS[3]
local user, epoch, office = ARGV[1], ARGV[2], ARGV[3]

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local most = now + 365 * 86400 * 1000000
local function sane(e)
  e = tonumber(e or 0) or 0
  return e <= most and e or 0
end

local is = redis.call('HMGET', loc, 'epoch', 'office', 'move', 'sw', 'reg', 'dev', 'since', 'sig')
local at = sane(is[1])
local was = is[2] or ''
local move = tonumber(is[3] or 0) or 0
local highest = math.max(at, sane(redis.call('GET', ep)))

local n = tonumber(epoch)
if n == 0 then
  n = math.max(highest + 1, now)
  epoch = string.format('%.0f', n)
elseif n > most then
  return redis.error_reply('AHEAD epoch more than a year ahead of the clock')
end
-- With the record gone, or older than roam:ep, nobody can say which office had that epoch.
if n < highest or (n == highest and at == n and was ~= office) then
  return {0, string.format('%.0f', highest), redis.call('HGETALL', loc)}
end

if was ~= office then
  move = move + 1
  redis.call('XADD', moves, 'MAXLEN', ARGV[12], '*',
    'move', string.format('%.0f', move), 'epoch', epoch, 'from', was, 'to', office, 'dev', ARGV[6], 'why', ARGV[9])
end
if n > at then
  redis.call('DEL', loc) -- nothing of the old place may stay, least of all its signature
end
local record = {'ver', '1', 'epoch', epoch, 'move', string.format('%.0f', move), 'office', office}
local names = {'sw', 'reg', 'dev', 'since', 'sig'}
local stands = false
for i = 1, #names do
  if ARGV[3 + i] ~= '' then
    record[#record + 1] = names[i]
    record[#record + 1] = ARGV[3 + i]
  elseif n == at and is[3 + i] then
    stands = true
  end
end
redis.call('HSET', loc, unpack(record))
redis.call('EXPIRE', loc, ARGV[10])
redis.call('SET', ep, epoch, 'EX', ARGV[11])
redis.call('EXPIRE', moves, ARGV[11])
if n > at or (is[4] or '') ~= ARGV[4] or (is[5] or '') ~= ARGV[5] or (is[6] or '') ~= ARGV[6] then
  redis.call('PUBLISH', 'roam:ev', user .. ' ' .. epoch .. ' ' .. office)
end
if stands then
  return {1, epoch, redis.call('HGETALL', loc)}
end
return epoch .. ' ' .. record[6]
