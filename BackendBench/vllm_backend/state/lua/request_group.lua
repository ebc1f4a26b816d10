-- Queue one generation task. Idempotent by group id.
-- KEYS: generation_queue groups run_stats operations   ARGV: id n payload operation
-- Returns 1 when it was queued, 0 when it was already known.
if redis.call('SADD', KEYS[2], ARGV[1]) == 0 then return 0 end
redis.call('RPUSH', KEYS[1], ARGV[3])
redis.call('HINCRBY', KEYS[3], 'requested', ARGV[2])
redis.call('HINCRBY', KEYS[3], 'groups', 1)
redis.call('SADD', KEYS[4], ARGV[4])
return 1
