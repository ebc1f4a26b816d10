-- Give a task back without blame. After a fault of infrastructure it goes to the tail, so that other tasks
-- get their turn; given back untouched, it goes to the head.
-- KEYS: list claimed lease attempts faults   ARGV: worker id fault(0/1) max_faults
-- Returns lost, requeued, or faulty: too many faults, still held by the caller, who must give it up.
local q = queue_keys(1)
local id = ARGV[2]
local payload = held(q, id, ARGV[1])
if not payload then return 'lost' end
local fault = ARGV[3] == '1'
if fault and redis.call('HINCRBY', q.faults, id, 1) > tonumber(ARGV[4]) then return 'faulty' end
unclaim(q, id)
if tonumber(redis.call('HGET', q.attempts, id) or '0') > 0 then
  -- The entry stays at 0: it says that the task was claimed once, see finish_task.
  redis.call('HINCRBY', q.attempts, id, -1)
end
redis.call(fault and 'RPUSH' or 'LPUSH', q.list, payload)
return 'requeued'
