-- A write of nothing, so that whatever would hinder a call shows: rights, memory, a server that is a replica.
redis.call('SET', KEYS[1], '', 'PX', 10000)
return ''
