"""The RedisStrategy of fastapi-users: a token a login, which can only be written, read and destroyed."""
from types import SimpleNamespace

from fastapi_users.authentication import RedisStrategy
from redis import asyncio as redis

from act import URL, run, uses
from life import live

client = redis.from_url(URL, decode_responses=True)


class Users:
    def parse_id(self, text):
        return text

    async def get(self, name):
        return SimpleNamespace(id=name)


class Tokens:
    def create(self, user, seconds):
        return run(RedisStrategy(client, lifetime_seconds=seconds).write_token(SimpleNamespace(id=user)))

    def read(self, token):
        user = run(RedisStrategy(client).read_token(token, Users()))
        return user and user.id

    def destroy(self, token):
        run(RedisStrategy(client).destroy_token(token, SimpleNamespace(id="")))


uses("fastapi-users", "redis")
live(Tokens())
