-- Acknowledge a generation task and correct `requested` by the samples that never came. Idempotent.
-- KEYS: list claimed lease attempts faults done submitted run_stats
-- ARGV: id outcome candidate_id...
-- Returns the shortfall, or -1 when the group was finished before.
local q = queue_keys(1)
finish_task(q, ARGV[1])
if redis.call('SADD', KEYS[6], ARGV[1]) == 0 then return -1 end
local shortfall = 0
for i = 3, #ARGV do
  if redis.call('SISMEMBER', KEYS[7], ARGV[i]) == 0 then shortfall = shortfall + 1 end
end
redis.call('HINCRBY', KEYS[8], 'requested', -shortfall)
redis.call('HINCRBY', KEYS[8], 'shortfall', shortfall)
redis.call('HINCRBY', KEYS[8], 'groups:' .. ARGV[2], 1)
return shortfall
