"""aiohttp-session with its Redis storage."""
from aiohttp import ClientSession, DummyCookieJar, web
from aiohttp.test_utils import TestServer
from aiohttp_session import get_session, new_session, setup
from aiohttp_session.redis_storage import RedisStorage
from redis import asyncio as redis

from act import PORT, run, uses
from browsers import Browsers
from life import live

routes = web.RouteTableDef()


@routes.post("/login")
async def login(request):
    session = await new_session(request)
    session["user"], session["visits"] = (await request.json())["user"], 0
    return web.json_response({})


@routes.get("/me")
async def me(request):
    session = await get_session(request)
    user = session.get("user")
    return web.json_response({"user": user, "visits": session.get("visits")}, status=200 if user else 401)


@routes.post("/visit")
async def visit(request):
    (await get_session(request))["visits"] += 1
    return web.json_response({})


@routes.post("/regenerate")
async def regenerate(request):
    old = await get_session(request)
    kept = dict(old)
    old.invalidate()
    (await new_session(request)).update(kept)
    return web.json_response({})


@routes.post("/logout")
async def logout(request):
    (await get_session(request)).invalidate()
    return web.json_response({})


async def start(seconds):
    app = web.Application()
    setup(app, RedisStorage(redis.Redis(port=PORT), max_age=seconds))
    app.add_routes(routes)
    server = TestServer(app)
    await server.start_server()
    return server


servers = {}


def send_of(seconds):
    if seconds not in servers:
        servers[seconds] = run(start(seconds))

    async def ask(method, route, body, cookie):
        async with ClientSession(cookie_jar=DummyCookieJar()) as client:
            headers = {"Cookie": cookie} if cookie else {}
            async with client.request(method, servers[seconds].make_url(route), json=body, headers=headers) as response:
                text = await response.text()
                answer = await response.json() if response.content_type == "application/json" else text
                return response.status, answer, response.headers.getall("Set-Cookie", [])

    return lambda *words: run(ask(*words))


uses("aiohttp-session", "aiohttp", "redis")
live(Browsers(send_of))
