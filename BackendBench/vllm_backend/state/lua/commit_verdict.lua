-- Kernel, set, statistics, events and acknowledgement of one verdict, all or nothing.
-- The first commit of a task wins, whoever holds its lease; the first verdict of a hash stays.
-- KEYS: list claimed lease attempts faults
--       done kernel op_kernels op_stats best failures feedback_version known operations
--       run_stats run_events completed_tasks
-- ARGV: id hash operation speedup correct(0/1) faster(0/1) error_type seen_version result worker
--       failures_cap completed_cap events_cap stage_count (stage seconds)... (kernel field value)...
-- Returns duplicate (this task was committed before), known (its hash was judged before), or committed.
local q = queue_keys(1)
local done, kernel, op_kernels, op_stats, best = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local failures, feedback_version, known, operations = KEYS[11], KEYS[12], KEYS[13], KEYS[14]
local run_stats, run_events, completed = KEYS[15], KEYS[16], KEYS[17]
local id, hash, speedup = ARGV[1], ARGV[2], ARGV[4]
local correct, faster, error_type = ARGV[5] == '1', ARGV[6] == '1', ARGV[7]

finish_task(q, id)
if redis.call('SADD', done, id) == 0 then return 'duplicate' end
if redis.call('EXISTS', kernel) == 1 then
  for _, stats in ipairs({run_stats, op_stats}) do
    redis.call('HINCRBY', stats, 'queued', -1)
    redis.call('HINCRBY', stats, 'duplicates', 1)
  end
  return 'known'
end

local now = now_ms()
local timed = correct and tonumber(speedup) > 0
local lag = math.max(0, redis.call('INCR', feedback_version) - 1 - tonumber(ARGV[8]))
local stages = 14 + 2 * tonumber(ARGV[14])
redis.call('HSET', kernel, 'feedback_lag', lag, unpack(ARGV, stages + 1))
redis.call('SADD', op_kernels, hash)
redis.call('SADD', known, hash)
redis.call('SADD', operations, ARGV[3])
if correct then
  redis.call('ZADD', best, speedup, hash)
else
  push_capped(failures, hash, tonumber(ARGV[11]))
end

local function count(stats, total, successful)
  local n = redis.call('HINCRBY', stats, total, 1)
  local good = redis.call('HINCRBY', stats, successful, correct and 1 or 0)
  redis.call('HSET', stats, 'success_rate', decimal(good / n))
  if not correct then redis.call('HINCRBY', stats, 'error:' .. error_type, 1) end
  if faster then redis.call('HINCRBY', stats, 'faster', 1) end
  if timed then
    local times = redis.call('HINCRBY', stats, 'timed', 1)
    local sum = redis.call('HINCRBYFLOAT', stats, 'speedup_sum', speedup)
    redis.call('HSET', stats, 'avg_speedup', decimal(tonumber(sum) / times))
    if raise_to(stats, 'best_speedup', speedup) then redis.call('HSET', stats, 'best_hash', hash) end
  else
    redis.call('HSETNX', stats, 'best_speedup', '0')
    redis.call('HSETNX', stats, 'avg_speedup', '0')
  end
end
count(op_stats, 'total', 'successful')
count(run_stats, 'evaluated', 'correct')
if correct then redis.call('HSETNX', run_stats, 'first_correct', seconds(now)) end
if faster then redis.call('HSETNX', run_stats, 'first_faster', seconds(now)) end
redis.call('HINCRBY', run_stats, 'feedback_lag_sum', lag)
raise_to(run_stats, 'feedback_lag_max', lag)
for i = 15, stages, 2 do
  redis.call('HINCRBYFLOAT', run_stats, 'seconds:' .. ARGV[i], ARGV[i + 1])
end

add_event(run_events, ARGV[13], 'kind', 'verdict', 'operation', ARGV[3], 'task', id, 'hash', hash,
  'correct', correct and 'True' or 'False', 'speedup', speedup, 'faster', faster and 'True' or 'False',
  'error_type', error_type, 'worker', ARGV[10])
push_capped(completed, ARGV[9], tonumber(ARGV[12]))
return 'committed'
