"""A driver's side of the talk that play.mjs describes."""
import asyncio
import importlib.metadata
import json
import os
import sys
import time

PORT = int(os.environ["REDIS_PORT"])
URL = f"redis://127.0.0.1:{PORT}/0"
# One loop for the whole play, so that a client keeps its connections from step to step.
LOOP = asyncio.new_event_loop()
asyncio.set_event_loop(LOOP)


def run(awaitable):
    return LOOP.run_until_complete(awaitable)


def _say(line):
    print(json.dumps(line), flush=True)
    sys.stdin.readline()


def uses(*packages):
    _say({"versions": {name: importlib.metadata.version(name) for name in packages}})


def step(name, act):
    try:
        result = act()
    except Exception as error:
        result = {"error": str(error)}
    _say({"step": name, "result": result})


def crash():
    _say({"crash": True})


def end():
    _say({"done": True})
    os._exit(0)


def again(act, within_s=15):
    """After a crash a client may need a moment to connect again; what it answers then is what counts."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return act()
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def until_gone(read, within_s=15):
    deadline = time.monotonic() + within_s
    while read() is not None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"still there after {within_s} s")
        time.sleep(0.1)
    return "gone"
