// Every library of the compatibility matrix, and what plays it.
//
// `how` is live (the real library) or replayed (its commands, as it was seen or read to send them: there is no such library
// to run here). `client` is what tells rows of one name apart.
//
// Spring Session, ASP.NET Core, gorilla and scs are replayed: nobody who runs the tests shall need a JVM, .NET or Go for it.
// Of redis-cli's modes, these are not here: --rdb, --functions-rdb and --replica (replication), --cluster, --ldb (a debugger),
// --intrinsic-latency (asks no server), --askpass; a terminal and --tls are in redis-cli.test.mjs and tls.test.mjs.

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

const live = (language) => (name, driver, { client } = {}) => ({ language, how: 'live', name, client, driver });
const node = live('node');
const python = live('python');
const php = live('php');
const ruby = live('ruby');
const rust = live('rust');
const replayed = (name, file) => ({ language: 'node', how: 'replayed', name, driver: ['replay.mjs', file] });

export const libraries = [
  ...Object.entries(connectRedis).flatMap(([major, clients]) => clients.map((client) =>
    node('connect-redis', ['connect_redis.mjs', major, client], { client }))),
  node('koa-session', ['koa.mjs', 'koa-session']),
  node('koa-generic-session', ['koa.mjs', 'koa-generic-session']),
  node('@fastify/session', ['fastify.mjs']),
  node('better-auth', ['better_auth.mjs']),
  node('better-auth, counters', ['better_auth_counters.mjs']),
  node('unstorage', ['unstorage.mjs']),
  node('@adonisjs/session', ['adonis.mjs']),
  node('@adonisjs/session, tagging', ['adonis.mjs', 'tagging']),
  node('rate-limit-redis', ['rate_limit_redis.mjs', 'redis-6'], { client: 'redis-6' }),
  node('rate-limit-redis', ['rate_limit_redis.mjs', 'ioredis-5'], { client: 'ioredis-5' }),

  python('Django cache sessions', ['play_django.py', 'cache']),
  python('Django cached_db sessions', ['play_django.py', 'cached_db']),
  python('django-redis, as Django\'s session cache', ['play_django.py', 'cache', 'django-redis']),
  python('django-redis, with its lock', ['play_django_redis.py']),
  python('Flask-Session', ['play_flask_session.py']),
  python('starsessions', ['play_starsessions.py']),
  python('aiohttp-session', ['play_aiohttp_session.py']),
  python('Beaker', ['play_beaker.py']),
  python('fastapi-users RedisStrategy', ['play_fastapi_users.py']),

  rust('tower-sessions-redis-store', ['play_tower_sessions']),
  rust('actix-session', ['play_actix_session']),
  rust('axum_session_redispool', ['play_axum_session']),
  rust('fred', ['play_fred']),
  rust('redis-rs', ['play_redis']),

  php('phpredis session handler', ['phpredis.php']),
  php('phpredis session handler, locking', ['phpredis.php', 'locking']),
  php('predis session handler', ['predis.php']),
  ruby('redis-rack', ['redis_rack.rb']),

  replayed('Spring Session, RedisSessionRepository', 'spring-session.txt'),
  replayed('Spring Session, RedisIndexedSessionRepository', 'spring-session-indexed.txt'),
  replayed('ASP.NET Core distributed cache, .NET 8', 'aspnet-core-8.txt'),
  replayed('ASP.NET Core distributed cache, .NET 7', 'aspnet-core-7.txt'),
  replayed('StackExchange.Redis, handshake', 'stackexchange-redis.txt'),
  replayed('gorilla/sessions redistore', 'gorilla-redistore.txt'),
  replayed('scs redisstore', 'scs-redisstore.txt'),
  replayed('scs goredisstore', 'scs-goredisstore.txt'),

  node('redis-cli', ['redis_cli.mjs']),
  node('redis-cli --eval', ['redis_cli.mjs', 'eval']),
  node('redis-cli SUBSCRIBE', ['redis_cli.mjs', 'subscribe']),
  node('redis-cli --memkeys', ['redis_cli.mjs', 'memkeys']),
  node('redis-cli MONITOR', ['redis_cli.mjs', 'monitor']),
  node('redis-benchmark', ['redis_benchmark.mjs', 'ping,set,get,incr,mset']),
  node('redis-benchmark, sets and hashes', ['redis_benchmark.mjs', 'sadd,hset,spop']),
  node('redis-commander', ['redis_commander.mjs']),
  node('prometheus-redis-exporter', ['exporter.mjs']),
  node('prometheus-redis-exporter, every field', ['exporter.mjs', 'fields']),
];
