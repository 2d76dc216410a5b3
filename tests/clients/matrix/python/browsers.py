"""Sessions of a web app with the routes /login, /me, /visit, /regenerate and /logout, each held by a browser's cookies."""
from http.cookies import SimpleCookie


class Browser:
    def __init__(self, send, cookies=()):
        self.send = send
        self.cookies = dict(cookies)

    def post(self, path, **body):
        status, answer = self._request("POST", path, body)
        if status >= 400:
            raise RuntimeError(f"{path}: {status} {answer}")
        return answer

    def get(self, path):
        return self._request("GET", path, None)

    def _request(self, method, path, body):
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        status, answer, set_cookies = self.send(method, path, body, cookie)
        for line in set_cookies:
            for name, morsel in SimpleCookie(line).items():
                self.cookies[name] = morsel.value
        return status, answer


class Browsers:
    """`send_of(seconds)` gives what sends requests to an app whose sessions live so long: send(method, path, body,
    cookie) → (status, answer, lines of Set-Cookie)."""

    def __init__(self, send_of):
        self.send_of = send_of

    def create(self, user, seconds):
        browser = Browser(self.send_of(seconds))
        browser.post("/login", user=user, seconds=seconds)
        return browser

    def read(self, browser):
        # A copy: a framework that hands out a fresh empty session would take the cookie that is to be read again.
        status, answer = Browser(browser.send, browser.cookies).get("/me")
        if status == 401:
            return None
        if status != 200:
            raise RuntimeError(f"/me: {status} {answer}")
        return answer

    def modify(self, browser):
        browser.post("/visit")

    def touch(self, browser):
        # An unchanged request is the touch of a web framework.
        self.read(browser)

    def regenerate(self, browser):
        fresh = Browser(browser.send, browser.cookies)
        fresh.post("/regenerate")
        return fresh

    def destroy(self, browser):
        Browser(browser.send, browser.cookies).post("/logout")


class BrowsersWithoutRegenerate(Browsers):
    regenerate = None
