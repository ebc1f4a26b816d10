-- Extend leases that are still held.
-- KEYS: list claimed lease attempts faults   ARGV: worker lease_ms id...
-- Returns the ids that this worker no longer holds.
local q = queue_keys(1)
local expiry = now_ms() + tonumber(ARGV[2])
local lost = {}
for i = 3, #ARGV do
  if held(q, ARGV[i], ARGV[1]) then
    redis.call('ZADD', q.lease, expiry, ARGV[i])
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
