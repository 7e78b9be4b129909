"""What every request must be before anything looks at it, and what every reply says to the browser.

Refused are foreign hosts (DNS rebinding), foreign pages (`Origin`, `Sec-Fetch-Site`), forms that
another page may send (content type, form token), and bodies that are compressed or too large.
"""

import ipaddress
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, TypeAlias

from luce.annotate.server.keys import Keys, Session

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

LARGEST_BODY = 65_536
"""Bytes of a request: a vote with a long comment is a tenth of it."""

FORM_HEADER = b"x-luce-form"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class Guard:
    """An ASGI application around another one.

    Args:
        inner: what answers requests that are in order; finds the visit under `scope["session"]`.
        keys: of cookies and forms.
        cookie: the name of the cookie.
        hosts: names under which the page may be asked for, beside addresses.
        any_address: whether it may be asked for under any IP address; else only under loopback.
    """

    def __init__(
        self, inner: App, keys: Keys, cookie: str, hosts: Iterable[str], any_address: bool
    ):
        self._inner, self._keys, self._cookie = inner, keys, cookie
        self._hosts = {host.lower() for host in hosts} | {"localhost"}
        self._any_address = any_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value)
        wrong = self._wrong(scope, headers)
        if wrong is not None:
            if scope["method"] == "POST":
                await _drop(receive)
            await _refuse(send, *wrong)
            return
        body = b""
        if scope["method"] == "POST":
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return
                body += message.get("body", b"")
                if len(body) > LARGEST_BODY:
                    if message.get("more_body"):
                        await _drop(receive)
                    await _refuse(send, 413, "The request is too large.")
                    return
                if not message.get("more_body"):
                    break
        sent = False

        async def again() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        await self._inner(scope, again if scope["method"] == "POST" else receive, with_headers)

    def _wrong(self, scope: Scope, headers: dict[bytes, list[bytes]]) -> tuple[int, str] | None:
        """Status and reason of a request that is refused; None of one in order."""
        host = headers.get(b"host", [])
        if len(host) != 1 or not self._is_host(host[0].decode("latin-1")):
            return 403, "This page is not served under that name."
        for origin in headers.get(b"origin", []):
            if origin.lower() not in (b"http://" + host[0].lower(), b"https://" + host[0].lower()):
                return 403, "Another page asked."
        scope["session"] = session = self._session(headers.get(b"cookie", []))
        if not scope["path"].startswith("/api/"):
            return None
        site = headers.get(b"sec-fetch-site", [b"same-origin"])
        if any(value not in (b"same-origin", b"none") for value in site):
            return 403, "Another page asked."
        if scope["method"] != "POST":
            return None
        kind = headers.get(b"content-type", [])
        if len(kind) != 1 or kind[0].split(b";")[0].strip().lower() != b"application/json":
            return 403, "Requests are JSON."
        token = headers.get(FORM_HEADER, [])
        if (
            session is None
            or len(token) != 1
            or not self._keys.is_form_token(session, token[0].decode("latin-1"))
        ):
            return 403, "This window's session is over. Load the page again."
        if b"content-encoding" in headers:
            return 415, "Requests are not compressed."
        length = headers.get(b"content-length", [b"0"])[0]
        if not length.isdigit() or int(length) > LARGEST_BODY:
            return 413, "The request is too large."
        return None

    def _is_host(self, host: str) -> bool:
        name = host.lower()
        name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
        if name in self._hosts:
            return True
        try:
            # rebinding needs a name that leads here: an address is none
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._any_address or address.is_loopback

    def _session(self, cookies: list[bytes]) -> Session | None:
        try:
            found = SimpleCookie(b"; ".join(cookies).decode("latin-1")).get(self._cookie)
        except CookieError:
            return None
        return None if found is None else self._keys.session(found.value)


async def _drop(receive: Receive) -> None:
    """Read what is still on its way, within bounds: a connection that is closed before is reset,
    and the reply lost with it."""
    left = 16 * LARGEST_BODY
    while left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body"):
            return


async def _refuse(send: Send, status: int, reason: str) -> None:
    body = json.dumps({"error": reason}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *HEADERS,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
