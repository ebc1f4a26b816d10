-- Set a candidate aside that infrastructure kept failing: no verdict, no blame, judged when the run resumes.
-- KEYS: list claimed lease attempts faults parked run_stats known   ARGV: worker id hash
-- Returns abandoned or lost.
local q = queue_keys(1)
local id = ARGV[2]
local payload = held(q, id, ARGV[1])
if not payload then return 'lost' end
finish_task(q, id)
redis.call('RPUSH', KEYS[6], payload)
redis.call('HINCRBY', KEYS[7], 'abandoned', 1)
redis.call('SREM', KEYS[8], ARGV[3])
return 'abandoned'
