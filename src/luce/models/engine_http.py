"""JSON over HTTP to a server of a model: retries after doubling waits, a key that is not shown."""

import json
import os
import random
import threading
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from luce.errors import ModelError

TEMPORARY = {408, 409, 425, 429}
"""Statuses below 500 after which the same request may succeed."""

LONGEST_WAIT_S = 60.0
_SHORTEST_KEY = 8  # characters; "EMPTY" and the like are no secrets
_SHOWN = 300  # characters of a server's answer that a message repeats


class Refused(Exception):
    """The server answered that it will not do this.

    Attributes:
        status: of HTTP.
        text: what it said, without the key.
    """

    def __init__(self, status: int, text: str):
        super().__init__(f"{status}: {text[:_SHOWN]}")
        self.status, self.text = status, text


class Temporary(Exception):
    """No answer this time; the next try may have one."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another host."""

    def redirect_request(self, *args: Any, **keywords: Any) -> None:
        return None


class Http:
    """A server at an address.

    Args:
        base_url: scheme, host and port; no user, query or /v1.
        api_key_env: the environment variable with the key, read here; None sends none.
        timeout_s: of one request.
        retries: of a request that failed for the time being.
        backoff_s: before the first retry; it doubles, up to a minute, and is drawn between half
            and all of that.

    Raises:
        ModelError: base_url is no such address, or the variable holds no key.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key_env: str | None = None,
        timeout_s: float = 600.0,
        retries: int = 6,
        backoff_s: float = 1.0,
    ):
        parts = urlsplit(base_url)
        bare = parts.scheme in ("http", "https") and parts.netloc and "@" not in parts.netloc
        path = parts.path.rstrip("/")
        if not bare or parts.query or parts.fragment or path.endswith("/v1"):
            raise ModelError(
                "A sampling server's base_url is http or https, a host and a port, without /v1, "
                "user or query. A key is given by its environment variable (api_key_env)."
            )
        self.base_url, self.retries = base_url.rstrip("/"), retries
        self.halted = threading.Event()
        self._timeout_s, self._backoff_s = timeout_s, backoff_s
        self._key = _read_key(api_key_env)
        self._opener = urllib.request.build_opener(_NoRedirects)

    def call(self, path: str, payload: Any = None) -> Any:
        """The JSON (or else text) that `path` answers to a GET, or to a POST of the payload.

        Raises:
            Refused: with a status that asking again does not change.
            ModelError: no answer after all retries.
        """
        retry = 0
        while True:
            try:
                return self.once(path, payload)
            except Temporary as error:
                if retry == self.retries or self.halted.is_set():
                    raise ModelError(
                        f"{self.base_url}{path}: {error}, {retry + 1} times. What was sampled "
                        "before is kept: see to the server, and go on with --resume."
                    ) from None
            self.halted.wait(self.wait_s(retry))
            retry += 1

    def once(self, path: str, payload: Any = None) -> Any:
        """`call` without retries.

        Raises:
            Temporary: no answer.
            Refused: as for `call`.
        """
        data = None if payload is None else json.dumps(payload).encode()
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(self.base_url + path, data=data, headers=headers)
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                body = response.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, self._text(_rest(error))
            if status in TEMPORARY or status >= 500:
                raise Temporary(f"status {status}") from None
            raise Refused(status, text) from None
        except (OSError, HTTPException) as error:  # no connection, cut off, or timed out
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise Temporary(self._text(str(reason).encode()) or type(error).__name__) from None
        text = self._text(body)
        try:
            return json.loads(text)
        except ValueError:
            return text

    def wait_s(self, retry: int) -> float:
        """The wait before retry 0, 1, 2 …"""
        longest = min(LONGEST_WAIT_S, self._backoff_s * 2.0 ** min(retry, 30))
        # a generator of its own: the run's random numbers do not depend on the network
        return longest * random.SystemRandom().uniform(0.5, 1.0)

    def _text(self, body: bytes) -> str:
        text = body.decode("utf-8", "replace")
        return text.replace(self._key, "[key]") if len(self._key) >= _SHORTEST_KEY else text


def _rest(error: urllib.error.HTTPError) -> bytes:
    try:
        with error:
            return error.read()
    except (OSError, HTTPException):
        return b""


def _read_key(variable: str | None) -> str:
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise ModelError(
            f"The sampling server's key is to be in the environment variable {variable}, which is "
            "not set or holds characters that no key has."
        )
    return key
