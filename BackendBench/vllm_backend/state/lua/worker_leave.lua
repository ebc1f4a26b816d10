-- A worker leaves in good order.
-- KEYS: worker workers shutdown   ARGV: worker_id
redis.call('DEL', KEYS[1], KEYS[3])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
