-- Announce a worker, or that it still lives.
-- KEYS: worker workers shutdown   ARGV: worker_id ttl_ms entering(0/1) field value ...
-- Returns 1 when it is asked to leave.
local now = now_ms()
local ttl = tonumber(ARGV[2])
-- A request that was meant for an earlier process of this id does not concern the new one.
if ARGV[3] == '1' then redis.call('DEL', KEYS[1], KEYS[3]) end
redis.call('HSET', KEYS[1], 'heartbeat', seconds(now), unpack(ARGV, 4))
redis.call('PEXPIRE', KEYS[1], ttl)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('ZADD', KEYS[2], now + ttl, ARGV[1])
return redis.call('EXISTS', KEYS[3])
