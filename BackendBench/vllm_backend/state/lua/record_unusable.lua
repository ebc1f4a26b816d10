-- Count a sample from which no kernel could be extracted. Idempotent by candidate id.
-- KEYS: submitted done run_stats op_stats operations run_events   ARGV: id group reason tokens seconds operation events_cap gpu_seconds
-- Returns repeated or unusable.
if redis.call('SADD', KEYS[1], ARGV[1]) == 0 then return 'repeated' end
if redis.call('SISMEMBER', KEYS[2], ARGV[2]) == 1 then redis.call('HINCRBY', KEYS[3], 'requested', 1) end
redis.call('SADD', KEYS[5], ARGV[6])
for i = 3, 4 do
  redis.call('HINCRBY', KEYS[i], 'generated', 1)
  redis.call('HINCRBY', KEYS[i], 'unusable', 1)
  redis.call('HINCRBY', KEYS[i], 'unusable:' .. ARGV[3], 1)
  redis.call('HINCRBY', KEYS[i], 'tokens', ARGV[4])
  redis.call('HINCRBYFLOAT', KEYS[i], 'generation_seconds', ARGV[5])
  redis.call('HINCRBYFLOAT', KEYS[i], 'gpu_seconds', ARGV[8])
end
add_event(KEYS[6], ARGV[7], 'kind', 'candidate', 'operation', ARGV[6], 'task', ARGV[1],
  'status', 'unusable', 'reason', ARGV[3])
return 'unusable'
