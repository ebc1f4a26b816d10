-- Shared by every script: it is put in front of each of them.
-- Scripts build no key names. Time is the server's, so that clocks of workers do not matter.

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- Decimal text that a reader of redis-cli likes: at most nine significant digits.
local function decimal(x)
  return string.format('%.9g', x)
end

local function seconds(ms)
  return string.format('%.3f', ms / 1000)
end

local function decode(text)
  local ok, value = pcall(cjson.decode, text)
  if ok and type(value) == 'table' then return value end
  return nil
end

local function raise_to(key, field, value)
  local old = redis.call('HGET', key, field)
  if not old or tonumber(old) < tonumber(value) then
    redis.call('HSET', key, field, value)
    return true
  end
  return false
end

local function push_capped(key, value, cap)
  redis.call('LPUSH', key, value)
  redis.call('LTRIM', key, 0, cap - 1)
end

local function add_event(stream, cap, ...)
  redis.call('XADD', stream, 'MAXLEN', '~', cap, '*', ...)
end

-- q: the five keys of a queue. A task id is in at most one of q.list and q.claimed at any time.
local function queue_keys(from)
  return {list = KEYS[from], claimed = KEYS[from + 1], lease = KEYS[from + 2],
          attempts = KEYS[from + 3], faults = KEYS[from + 4]}
end

-- The payload of a task if `worker` holds it, otherwise nil.
local function held(q, id, worker)
  local text = redis.call('HGET', q.claimed, id)
  if not text then return nil end
  local entry = cjson.decode(text)
  if entry.worker ~= worker then return nil end
  return entry.payload
end

local function unclaim(q, id)
  redis.call('HDEL', q.claimed, id)
  redis.call('ZREM', q.lease, id)
end

-- Forget a finished task wherever it is. It stands in the list only when a lease was lost and it was put
-- back; the list is then searched from its head, where such tasks are put.
local function finish_task(q, id)
  local was_claimed = redis.call('HDEL', q.claimed, id)
  redis.call('ZREM', q.lease, id)
  if was_claimed == 0 and redis.call('HEXISTS', q.attempts, id) == 1 then
    local from, chunk = 0, 100
    repeat
      local payloads = redis.call('LRANGE', q.list, from, from + chunk - 1)
      for _, payload in ipairs(payloads) do
        if string.find(payload, id, 1, true) then
          local task = decode(payload)
          if task and task.id == id then
            redis.call('LREM', q.list, 1, payload)
            payloads = {}
            break
          end
        end
      end
      from = from + chunk
    until #payloads < chunk
  end
  redis.call('HDEL', q.attempts, id)
  redis.call('HDEL', q.faults, id)
end
