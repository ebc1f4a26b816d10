-- Set aside the waiting tasks of a stopped run, so that the next run does not spend its time on them.
-- KEYS: list parked (known of each operation)...   ARGV: run operation...
-- Returns how many were set aside.
local known = {}
for i = 2, #ARGV do known[ARGV[i]] = KEYS[i + 1] end
local parked = 0
for _, payload in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  local task = decode(payload)
  if task and task.run == ARGV[1] then
    redis.call('LREM', KEYS[1], 1, payload)
    redis.call('RPUSH', KEYS[2], payload)
    if type(task.hash) == 'string' and known[task.operation] then
      redis.call('SREM', known[task.operation], task.hash)
    end
    parked = parked + 1
  end
end
return parked
