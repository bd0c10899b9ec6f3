"""Which requests are answered: only those of the page itself, on this machine.

A page of another site can make a browser send requests to 127.0.0.1. So the name that a request was sent to (*Host*)
and the page that sent it (*Origin*, *Sec-Fetch-Site*) are checked before anything else. A name of an attacker's that
resolves to 127.0.0.1 (DNS rebinding) fails by its Host.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Hosts that only this machine reaches."""
COOKIE = "viewkin_token"
POLICY = "; ".join(
    (
        "default-src 'none'",
        # regl, which draws the map, makes functions of source text to draw fast. Without 'unsafe-eval' it hangs without
        # an error. Inline scripts, other hosts and workers stay forbidden.
        "script-src 'self' 'unsafe-eval'",
        "style-src 'self'",
        "img-src 'self' blob:",  # blob: the preview of an image that is searched for
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Content security policy of every answer."""
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass(frozen=True)
class Access:
    """Who may ask."""

    hosts: frozenset[str]
    """Values of Host that are answered, in lower case; empty: any, where a token is asked for."""
    token: str | None = None
    """What a browser must know; None: nothing."""


def hosts_of(host: str, port: int) -> frozenset[str]:
    """List the values of Host that a page at an address is asked by; none for one that all networks reach."""
    if host in ("0.0.0.0", "::", ""):
        return frozenset()
    names = LOOPBACK if host in LOOPBACK else (host,)
    written = [f"[{name}]" if ":" in name else name.lower() for name in names]
    return frozenset([*(f"{name}:{port}" for name in written), *(written if port == 80 else ())])


class Guard:
    """Refuses requests of others, and adds the headers that bind the page."""

    def __init__(self, inner: Application, access: Access) -> None:
        """Stand before an application."""
        self._inner, self._access = inner, access

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request or pass it on."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        why = refusal(scope["method"], scope["path"], headers, self._access)
        if why is not None:
            await _refuse(send, 403, why)
            return
        token = self._access.token
        if token is not None and not _knows(headers, token):
            if scope["path"] == "/" and _same(_asked(scope), token):
                await _welcome(send, token)
            else:
                await _refuse(send, 401, "Open the page by the address with the token that viewkin explore printed.")
            return
        await self._inner(scope, receive, _with_headers(send))


def refusal(method: str, path: str, headers: Mapping[str, str], access: Access) -> str | None:
    """Say why a request is refused; None where it is not."""
    host = headers.get("host", "").lower()
    if not host or (access.hosts and host not in access.hosts):
        return "This page answers only to the address that viewkin explore printed."
    origin = headers.get("origin")
    if origin is not None and origin.lower() != f"http://{host}":
        return "Requests of other pages are refused."
    if origin is None and method not in ("GET", "HEAD"):
        return "A change needs the header Origin."
    site, mode = headers.get("sec-fetch-site", "same-origin"), headers.get("sec-fetch-mode", "")
    opens_page = method == "GET" and path == "/" and mode == "navigate"
    if site not in ("same-origin", "none") and not opens_page:
        return "Requests of other pages are refused."
    return None


def _knows(headers: Mapping[str, str], token: str) -> bool:
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return False
    return cookie is not None and _same(cookie.value, token)


def _asked(scope: Message) -> str:
    return parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            if not any(name.lower() == b"cache-control" for name, _ in message["headers"]):
                own.append((b"cache-control", b"no-store"))
            message = {**message, "headers": [*message["headers"], *own]}
        await send(message)

    return sending


async def _refuse(send: Send, status: int, why: str) -> None:
    await _answer(send, status, why.encode(), [(b"content-type", b"text/plain; charset=utf-8")])


async def _welcome(send: Send, token: str) -> None:
    """Give the browser the token as a cookie, and take it out of the address."""
    cookie = f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict"
    await _answer(send, 303, b"", [(b"location", b"/"), (b"set-cookie", cookie.encode())])


async def _answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    sending = _with_headers(send)
    length = (b"content-length", str(len(body)).encode())
    await sending({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await sending({"type": "http.response.body", "body": body})
