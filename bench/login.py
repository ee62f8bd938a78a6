"""A browser that signs in: follows redirects, keeps cookies, and asks for pages."""

import http.cookiejar
import time
import urllib.error
import urllib.request

from .errors import BenchError

PAGE = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "User-Agent": "bench"}


class Browser:
    """One, with an empty cookie jar."""

    def __init__(self, headers: dict[str, str] | None = None):
        self.jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self.jar))
        self.opener.addheaders = list({**PAGE, **(headers or {})}.items())

    def open(self, url: str) -> bytes:
        """The page at the end of all redirects."""
        try:
            with self.opener.open(url, timeout=20) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            page = error.read()[:500].decode(errors="replace")
            raise BenchError(f"the way from {url} ended at {error.url} with {error.code}:\n{page}") from error

    def cookies_for(self, url: str) -> str:
        """The Cookie field that it sends there an hour later: what a pending login has left is gone by then."""
        for cookie in list(self.jar):
            if cookie.expires is not None and cookie.expires < time.time() + 3600:
                self.jar.clear(cookie.domain, cookie.path, cookie.name)
        request = urllib.request.Request(url)
        self.jar.add_cookie_header(request)
        return request.get_header("Cookie", "")


def sign_in(url: str, expected: bytes) -> str:
    """Goes to the address, signs in on the way, and gives the Cookie field of the session."""
    browser = Browser()
    page = browser.open(url)
    if page != expected:
        raise BenchError(f"the sign-in at {url} did not reach the app but:\n{page[:500].decode(errors='replace')}")
    return browser.cookies_for(url)
