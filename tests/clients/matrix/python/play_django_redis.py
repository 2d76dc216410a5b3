"""What django-redis adds to Django's cache: patterns, lives in milliseconds, counters and its lock."""
import django
from django.conf import settings

from act import URL, again, crash, end, step, until_gone, uses

settings.configure(CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": URL}})
django.setup()
uses("django-redis", "Django", "redis")

from django.core.cache import cache

step("set and get", lambda: [cache.set("user", {"name": "ada"}, timeout=3600), cache.get("user")])
step("set nx", lambda: [cache.set("user", 1, nx=True), cache.add("other", 2, timeout=100), cache.add("other", 3)])
step("get_or_set", lambda: [cache.get_or_set("made", lambda: "once", 3600), cache.get_or_set("made", lambda: "twice", 3600)])
step("many", lambda: [cache.set_many({"a": 1, "b": [2]}, timeout=3600), cache.get_many(["a", "b", "nobody"]), cache.delete_many(["a"])])
step("life", lambda: [cache.ttl("user") > 3500, cache.ttl("nobody"), cache.persist("user"), cache.ttl("user"), cache.expire("user", 3600), cache.pexpire("user", 3_600_000), cache.touch("user", 3600)])
step("counter", lambda: [cache.set("count", 1, timeout=3600), cache.incr("count"), cache.incr("count", 10), cache.decr("count")])


def counter_of_nothing():
    return cache.incr("nobody")


step("counter of nothing", counter_of_nothing)
step("patterns", lambda: [sorted(cache.keys("*")), sorted(cache.iter_keys("o*")), cache.delete_pattern("o*"), cache.has_key("other")])


def lock():
    mine, theirs = cache.lock("work", timeout=3600), cache.lock("work", timeout=3600)
    results = [mine.acquire(blocking=False), theirs.acquire(blocking=False), mine.owned(), mine.extend(100), mine.reacquire()]
    mine.release()
    return results + [theirs.acquire(blocking=False), theirs.release()]


def release_of_anothers():
    mine = cache.lock("taken", timeout=3600)
    mine.acquire(blocking=False)
    cache.client.get_client().set(":1:taken", "another token")
    mine.release()


def brief_lock():
    brief = cache.lock("brief", timeout=1)
    taken = brief.acquire(blocking=False)
    return [taken, until_gone(lambda: True if brief.locked() else None)]


held = cache.lock("held", timeout=3600)
step("lock", lock)
step("release of another's lock", release_of_anothers)
step("lock that ends", brief_lock)
step("lock before the crash", lambda: held.acquire(blocking=False))
crash()
step("lock after the crash", lambda: [again(held.locked), cache.lock("held", timeout=3600).acquire(blocking=False), held.release()])
step("read after the crash", lambda: [cache.get("user"), cache.get("count"), cache.get("other")])
step("clear", lambda: [cache.clear(), cache.keys("*")])
crash()
step("read after the second crash", lambda: again(lambda: cache.get("user")))
end()
