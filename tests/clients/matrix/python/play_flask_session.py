"""Flask-Session with its Redis interface."""
from datetime import timedelta

from flask import Flask, jsonify, request, session
from flask_session import Session
from redis import Redis

from act import PORT, uses
from browsers import Browsers
from life import live


def app_of(seconds):
    app = Flask(__name__)
    app.config.update(SESSION_TYPE="redis", SESSION_REDIS=Redis(port=PORT), PERMANENT_SESSION_LIFETIME=timedelta(seconds=seconds))
    Session(app)

    @app.post("/login")
    def login():
        session["user"], session["visits"] = request.json["user"], 0
        return jsonify({})

    @app.get("/me")
    def me():
        user = session.get("user")
        return jsonify({"user": user, "visits": session.get("visits")}), 200 if user else 401

    @app.post("/visit")
    def visit():
        session["visits"] += 1
        return jsonify({})

    @app.post("/regenerate")
    def regenerate():
        app.session_interface.regenerate(session)
        return jsonify({})

    @app.post("/logout")
    def logout():
        session.clear()
        return jsonify({})

    return app


apps = {}


def send_of(seconds):
    app = apps.setdefault(seconds, app_of(seconds))

    def send(method, route, body, cookie):
        response = app.test_client(use_cookies=False).open(route, method=method, json=body, headers={"Cookie": cookie} if cookie else {})
        return response.status_code, response.json, response.headers.getlist("Set-Cookie")

    return send


uses("Flask-Session", "Flask", "redis")
live(Browsers(send_of))
