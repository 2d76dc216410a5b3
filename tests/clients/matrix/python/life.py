"""The life of a session, the same for every library: ../node/life.mjs says what each method is."""
import time

from act import again, crash, end, step

LONG_S = 3600
BRIEF_S = 2
# Slept and not polled: a read is a touch where sessions roll, and would keep it alive.
SURELY_OVER_S = 3.2
NONE = "not offered"


def live(sessions):
    """`sessions` has create and read, destroy, and of modify, touch, list and regenerate what its library offers."""
    held = {}
    offers = lambda name: getattr(sessions, name, None)

    def create():
        held["ada"] = sessions.create("ada", LONG_S)
        held["grace"] = sessions.create("grace", LONG_S)
        return "created"

    def modify():
        if not offers("modify"):
            return NONE
        sessions.modify(held["ada"])
        return sessions.read(held["ada"])

    def touch():
        if not offers("touch"):
            return NONE
        touched = sessions.touch(held["ada"])
        return {"touched": touched, "read": sessions.read(held["ada"])}

    def regenerate():
        if not offers("regenerate"):
            return NONE
        old = held["ada"]
        held["ada"] = sessions.regenerate(old)
        return {"old": sessions.read(old), "new": sessions.read(held["ada"])}

    def expire():
        brief = sessions.create("brief", BRIEF_S)
        first = sessions.read(brief)
        time.sleep(SURELY_OVER_S)
        return {"first": first, "then": sessions.read(brief)}

    def destroy():
        sessions.destroy(held["grace"])
        return sessions.read(held["grace"])

    both = lambda: [again(lambda: sessions.read(held["ada"])), again(lambda: sessions.read(held["grace"]))]
    step("create", create)
    step("read", both)
    step("modify", modify)
    step("touch", touch)
    step("list", lambda: sessions.list() if offers("list") else NONE)
    step("regenerate", regenerate)
    step("expire", expire)
    crash()
    step("read after the crash", both)
    step("modify after the crash", modify)
    step("destroy", destroy)
    crash()
    step("read after the second crash", both)
    end()
