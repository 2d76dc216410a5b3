"""starsessions under Starlette."""
import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route
from starsessions import SessionAutoloadMiddleware, SessionMiddleware, regenerate_session_id
from starsessions.stores.redis import RedisStore

from act import URL, run, uses
from browsers import Browsers
from life import live

store = RedisStore(URL)


async def login(request):
    body = await request.json()
    request.session.update(user=body["user"], visits=0)
    return JSONResponse({})


async def me(request):
    user = request.session.get("user")
    return JSONResponse({"user": user, "visits": request.session.get("visits")}, status_code=200 if user else 401)


async def visit(request):
    request.session["visits"] += 1
    return JSONResponse({})


async def regenerate(request):
    regenerate_session_id(request)
    return JSONResponse({})


async def logout(request):
    request.session.clear()
    return JSONResponse({})


def app_of(seconds):
    return Starlette(
        routes=[Route(f"/{view.__name__}", view, methods=["GET", "POST"]) for view in (login, me, visit, regenerate, logout)],
        middleware=[
            Middleware(SessionMiddleware, store=store, lifetime=seconds, rolling=True, cookie_https_only=False),
            Middleware(SessionAutoloadMiddleware),
        ],
    )


apps = {}


def send_of(seconds):
    app = apps.setdefault(seconds, app_of(seconds))

    async def ask(method, route, body, cookie):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            response = await client.request(method, route, json=body, headers={"Cookie": cookie} if cookie else {})
        return response.status_code, response.json(), response.headers.get_list("set-cookie")

    return lambda *words: run(ask(*words))


uses("starsessions", "starlette", "redis")
live(Browsers(send_of))
