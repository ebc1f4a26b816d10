-- Put back at once whatever a worker held that is known to be dead.
-- KEYS: list claimed lease attempts faults   ARGV: worker blame(0/1)
-- Returns the ids.
local q = queue_keys(1)
local ids = {}
local entries = redis.call('HGETALL', q.claimed)
for i = 1, #entries, 2 do
  local id, entry = entries[i], cjson.decode(entries[i + 1])
  if entry.worker == ARGV[1] then
    unclaim(q, id)
    if ARGV[2] == '0' and tonumber(redis.call('HGET', q.attempts, id) or '0') > 0 then
      redis.call('HINCRBY', q.attempts, id, -1)
    end
    redis.call('LPUSH', q.list, entry.payload)
    ids[#ids + 1] = id
  end
end
return ids
