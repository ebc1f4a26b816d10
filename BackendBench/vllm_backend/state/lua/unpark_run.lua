-- Put back what park_run and abandon set aside, but for what was finished meanwhile by a holder who came late.
-- KEYS: list parked done (known, run_stats of each operation)...   ARGV: operation...
-- Returns how many were put back.
local known = {}
for i = 1, #ARGV do
  known[ARGV[i]] = KEYS[2 * i + 2]
  redis.call('HDEL', KEYS[2 * i + 3], 'abandoned')
end
local count = 0
while true do
  local payload = redis.call('LPOP', KEYS[2])
  if not payload then return count end
  local task = decode(payload)
  local id = task and type(task.id) == 'string' and task.id or ''
  if redis.call('SISMEMBER', KEYS[3], id) == 0 then
    if task and type(task.hash) == 'string' and known[task.operation] then
      redis.call('SADD', known[task.operation], task.hash)
    end
    redis.call('RPUSH', KEYS[1], payload)
    count = count + 1
  end
end
