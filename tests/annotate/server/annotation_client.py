"""What the page does, without a browser and without luce: a client that keeps cookies and the form
token. Run as a program it is a person who judges all there is:

    python annotation_client.py PORT NAME FILE

It prefers the response that says "Right", keeps the key of a vote until it hears that it is saved,
and writes a line to FILE for each one it has heard of.
"""

import http.client
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any

OPENED: list["Browser"] = []
"""Clients with a connection."""


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes
    cookies: list[str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Browser:
    """A client that keeps cookies and the form token, as the page does."""

    port: int
    cookie: str = ""
    form: str = ""
    connection: http.client.HTTPConnection | None = field(default=None, repr=False)

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            OPENED.append(self)
        sent = {"Cookie": self.cookie} if self.cookie else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            self.connection.request(method, path, body, sent)
            reply = self.connection.getresponse()
            content = reply.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        cookies = reply.headers.get_all("set-cookie") or []
        for each in cookies:
            self.cookie = each.split(";")[0]
        found = {name.lower(): value for name, value in reply.headers.items()}
        return Reply(reply.status, found, content, cookies)

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def post(self, path: str, body: Any, **headers: str) -> Reply:
        sent = {"Content_Type": "application/json", "X_Luce_Form": self.form} | headers
        return self.send("POST", path, json.dumps(body).encode(), **sent)

    def sign_in(self, name: str, token: str = "") -> Reply:
        self.form = self.send("GET", "/api/me").json["form"]
        reply = self.post("/api/sign-in", {"name": name, "token": token})
        if reply.status == 200:
            self.form = reply.json["form"]
        return reply

    def next(self) -> dict[str, Any]:
        reply = self.post("/api/next", {})
        assert reply.status == 200, reply
        return reply.json

    def vote(self, task: int, key: str, ranks=(1, 2), **more: Any) -> Reply:
        body = {"key": key, "task": task, "kind": "ranked", "ranks": list(ranks)} | more
        return self.post("/api/vote", body)


def judge_all(port: int, name: str, file: str) -> None:
    """Judge until there is nothing left; whatever is lost on the way is sent again."""
    browser, number = Browser(port), 0

    def insist(work: Any) -> Any:
        for _ in range(1200):
            try:
                return work()
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)
        raise SystemExit("the server does not come back")

    assert insist(lambda: browser.sign_in(name)).status == 200
    with open(file, "w", buffering=1) as heard:
        while (task := insist(browser.next)["task"]) is not None:
            right = task["responses"][0]["text"].startswith("Right")
            key, ranks = f"{name}-{number:016d}", (1, 2) if right else (2, 1)
            reply = insist(lambda k=key, r=ranks, t=task: browser.vote(t["number"], k, r))
            assert reply.status == 200, reply
            print(task["number"], file=heard)
            number += 1
    browser.close()


if __name__ == "__main__":
    judge_all(int(sys.argv[1]), sys.argv[2], sys.argv[3])
