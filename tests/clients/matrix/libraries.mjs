// Every library of the compatibility matrix: what plays it, and what it needs of the server beyond strings.
//
// `client` is only a word for the table where the driver cannot tell it by a package. `how` is live (the real library) or
// replayed (its commands, as it was seen or read to send them: there is no such library to run here).

// What Sojourn has not got yet, with a command that tells. Libraries that need one of these are played against
// redis-server only, and the table says what they wait for. matrix.test.mjs fails when Sojourn has one of these after all:
// then it goes from this list, and the libraries run against both.
export const missing = {
  hashes: 'HSET',
  sets: 'SADD',
  lua: 'EVAL',
  pubsub: 'SUBSCRIBE',
  slowlog: 'SLOWLOG',
  latency: 'LATENCY',
  memory: 'MEMORY',
  monitor: 'MONITOR',
};

const connectRedis = {
  3: ['redis-2', 'redis-3', 'ioredis-4'],
  4: ['redis-2', 'redis-3', 'ioredis-4', 'ioredis-5'],
  5: ['redis-3', 'redis-4 legacy', 'ioredis-4', 'ioredis-5'],
  6: ['redis-3', 'redis-4 legacy', 'ioredis-4', 'ioredis-5', 'ioredis-6'],
  7: ['redis-4', 'ioredis-5', 'ioredis-6'],
  8: ['redis-4', 'redis-5', 'ioredis-5', 'ioredis-6'],
  9: ['redis-5', 'redis-6', 'ioredis-5'],
  10: ['redis-5', 'redis-6', 'ioredis-6'],
};

const node = (name, client, driver, needs = []) => ({ language: 'node', how: 'live', name, client, driver, needs });

export const libraries = [
  ...Object.entries(connectRedis).flatMap(([major, clients]) => clients.map((client) =>
    node('connect-redis', client, ['connect_redis.mjs', major, client]))),
];
