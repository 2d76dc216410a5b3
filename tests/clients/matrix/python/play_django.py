"""Django's sessions: play_django.py cache|cached_db, with Django's own Redis cache, or `cache django-redis`."""
import json
import sys
import tempfile

import django
from django.conf import settings
from django.core.management import call_command
from django.http import JsonResponse
from django.test import Client
from django.urls import path

from act import URL, uses
from browsers import Browsers
from life import live

engine = sys.argv[1]
with_django_redis = "django-redis" in sys.argv
backend = "django_redis.cache.RedisCache" if with_django_redis else "django.core.cache.backends.redis.RedisCache"
database = tempfile.NamedTemporaryFile(suffix=".sqlite3")
settings.configure(
    SECRET_KEY="secret",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.sessions"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}",
    CACHES={"default": {"BACKEND": backend, "LOCATION": URL}},
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database.name}},
)


def login(request):
    body = json.loads(request.body)
    request.session["user"] = body["user"]
    request.session["visits"] = 0
    request.session.set_expiry(body["seconds"])
    return JsonResponse({})


def me(request):
    user = request.session.get("user")
    answer = {"user": user, "visits": request.session.get("visits")}
    return JsonResponse(answer, status=200 if user else 401)


def visit(request):
    request.session["visits"] += 1
    return JsonResponse({})


def regenerate(request):
    request.session.cycle_key()
    return JsonResponse({})


def logout(request):
    request.session.flush()
    return JsonResponse({})


urlpatterns = [path(view.__name__, view) for view in (login, me, visit, regenerate, logout)]


def send(method, route, body, cookie):
    client = Client(raise_request_exception=True)
    further = {"HTTP_COOKIE": cookie} if cookie else {}
    response = client.generic(method, route, json.dumps(body), content_type="application/json", **further)
    return response.status_code, response.json(), [morsel.OutputString() for morsel in response.cookies.values()]


django.setup()
call_command("migrate", verbosity=0)
uses(*(["django-redis"] if with_django_redis else []), "Django", "redis")
live(Browsers(lambda seconds: send))
