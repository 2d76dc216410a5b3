"""Beaker's session middleware with its ext:redis storage, around a WSGI app."""
import json
from io import BytesIO

from beaker.middleware import SessionMiddleware

from act import URL, uses
from browsers import Browsers
from life import live


def app(environ, start_response):
    session, route = environ["beaker.session"], environ["PATH_INFO"]
    status, answer = "200 OK", {}
    if route == "/login":
        body = json.loads(environ["wsgi.input"].read())
        session.update(user=body["user"], visits=0)
        session.save()
    elif route == "/me":
        answer = {"user": session.get("user"), "visits": session.get("visits")}
        status = "200 OK" if session.get("user") else "401 Unauthorized"
    elif route == "/visit":
        session["visits"] += 1
        session.save()
    elif route == "/regenerate":
        kept = {name: session[name] for name in ("user", "visits")}
        session.invalidate()
        session.update(kept)
        session.save()
    elif route == "/logout":
        session.delete()
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]


apps = {}


def send_of(seconds):
    options = {"session.type": "ext:redis", "session.url": URL, "session.timeout": seconds, "session.key": "beaker", "session.data_serializer": "json"}
    wrapped = apps.setdefault(seconds, SessionMiddleware(app, options))

    def send(method, route, body, cookie):
        environ = {"REQUEST_METHOD": method, "PATH_INFO": route, "wsgi.input": BytesIO(json.dumps(body).encode()), "HTTP_COOKIE": cookie}
        answered = []
        content = b"".join(wrapped(environ, lambda status, headers, exc_info=None: answered.extend((status, headers))))
        set_cookies = [value for name, value in answered[1] if name.lower() == "set-cookie"]
        return int(answered[0].split()[0]), json.loads(content), set_cookies

    return send


uses("Beaker", "redis")
live(Browsers(send_of))
