-- Queue a candidate for evaluation. Idempotent by candidate id; a known hash is counted and not queued.
-- KEYS: submitted done known eval_queue kernel run_stats op_stats operations run_events
-- ARGV: id group hash payload tokens seconds operation events_cap gpu_seconds
-- Returns repeated, duplicate or queued.
local run_stats, op_stats = KEYS[6], KEYS[7]
if redis.call('SADD', KEYS[1], ARGV[1]) == 0 then return 'repeated' end
-- A straggler of a group whose shortfall was already written off.
if redis.call('SISMEMBER', KEYS[2], ARGV[2]) == 1 then redis.call('HINCRBY', run_stats, 'requested', 1) end
redis.call('SADD', KEYS[8], ARGV[7])

-- A judged kernel may be missing among the known ones: another task with its hash was set aside.
local queued = redis.call('SADD', KEYS[3], ARGV[3]) == 1 and redis.call('EXISTS', KEYS[5]) == 0
for _, stats in ipairs({run_stats, op_stats}) do
  redis.call('HINCRBY', stats, 'generated', 1)
  redis.call('HINCRBY', stats, 'queued', queued and 1 or 0)
  redis.call('HINCRBY', stats, 'duplicates', queued and 0 or 1)
  redis.call('HINCRBY', stats, 'tokens', ARGV[5])
  redis.call('HINCRBYFLOAT', stats, 'generation_seconds', ARGV[6])
  redis.call('HINCRBYFLOAT', stats, 'gpu_seconds', ARGV[9])
end
add_event(KEYS[9], ARGV[8], 'kind', 'candidate', 'operation', ARGV[7], 'task', ARGV[1], 'hash', ARGV[3],
  'status', queued and 'queued' or 'duplicate')
if queued then
  redis.call('RPUSH', KEYS[4], ARGV[4])
  return 'queued'
end
local kernel = redis.call('HMGET', KEYS[5], 'correct', 'speedup')
if kernel[1] == 'True' then
  redis.call('HINCRBY', run_stats, 'duplicates_of_correct', 1)
  raise_to(run_stats, 'best_known_speedup', kernel[2])
end
return 'duplicate'
