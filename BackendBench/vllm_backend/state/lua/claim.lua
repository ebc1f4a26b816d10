-- Take up to n tasks. Expired leases are put back first.
-- KEYS: list claimed lease attempts faults malformed receipt
-- ARGV: worker n lease_ms max_attempts request malformed_cap
-- Returns a flat list: payload, attempt, exhausted (0/1), payload, ...
local q = queue_keys(1)
local malformed, receipt = KEYS[6], KEYS[7]
local worker, n, lease_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local max_attempts, request = tonumber(ARGV[4]), ARGV[5]
local now = now_ms()
local out = {}

-- Python reads other bytes as U+FFFD: under such an id it could never give the task back.
local SEQUENCES = {
  '[\194-\223][\128-\191]',
  '\224[\160-\191][\128-\191]', '[\225-\236\238\239][\128-\191][\128-\191]', '\237[\128-\159][\128-\191]',
  '\240[\144-\191][\128-\191][\128-\191]', '[\241-\243][\128-\191][\128-\191][\128-\191]',
  '\244[\128-\143][\128-\191][\128-\191]',
}
local function is_utf8(text)
  if not string.find(text, '[\128-\255]') then return true end
  for _, sequence in ipairs(SEQUENCES) do text = string.gsub(text, sequence, ' ') end
  return not string.find(text, '[\128-\255]')
end

local function hand_out(payload, attempt, exhausted)
  out[#out + 1] = payload
  out[#out + 1] = attempt
  out[#out + 1] = exhausted
end

-- The client repeats a request whose answer was lost on the way: give the same tasks, blame nobody.
local prior = decode(redis.call('GET', receipt) or '')
if prior and prior.request == request then
  for _, item in ipairs(prior.items) do
    local payload = held(q, item[1], worker)
    if payload then hand_out(payload, item[2], item[3]) end
  end
  return out
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', q.lease, '-inf', now, 'LIMIT', 0, 256)) do
  local entry = redis.call('HGET', q.claimed, id)
  if entry then redis.call('LPUSH', q.list, cjson.decode(entry).payload) end
  unclaim(q, id)
end

local items = {}
while #items < n do
  local payload = redis.call('LPOP', q.list)
  if not payload then break end
  local task = decode(payload)
  if not task or type(task.id) ~= 'string' or not is_utf8(payload) then
    push_capped(malformed, payload, tonumber(ARGV[6]))
  elseif redis.call('HEXISTS', q.claimed, task.id) == 0 then
    local exhausted = 0
    local attempt = tonumber(redis.call('HGET', q.attempts, task.id) or '0')
    if attempt >= max_attempts then
      exhausted = 1
    else
      attempt = redis.call('HINCRBY', q.attempts, task.id, 1)
    end
    redis.call('HSET', q.claimed, task.id, cjson.encode({worker = worker, since = now, payload = payload}))
    redis.call('ZADD', q.lease, now + lease_ms, task.id)
    items[#items + 1] = {task.id, attempt, exhausted}
    hand_out(payload, attempt, exhausted)
  end
end
if #items > 0 then
  redis.call('SET', receipt, cjson.encode({request = request, items = items}), 'PX', lease_ms)
end
return out
