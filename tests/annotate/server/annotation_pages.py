"""A page served for tests: in a thread of this process, or by the command in one of its own."""

import http.client
import json
import os
import select
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from luce.annotate.server import Store, Task
from luce.annotate.server.api import Door
from luce.annotate.server.keys import Keys
from luce.annotate.server.serve import listen, server_on


def tasks(n: int) -> list[Task]:
    """Tasks whose better response is the second, by a model whose name must not be seen."""
    return [
        Task(
            f"Question {i}?",
            (f"Wrong answer {i}.", f"Right answer {i}, at length."),
            ("model-canary-one", "model-canary-two"),
            id=f"t{i}",
        )
        for i in range(n)
    ]


@contextmanager
def served(store: Store, door: Door | None = None):
    """The port of a page served in a thread."""
    bound = listen("127.0.0.1", 0)
    keys = Keys.beside(store.database.path)
    server = server_on(bound, store, keys, door or Door())
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield bound.getsockname()[1]
    finally:
        while OPENED:
            OPENED.pop().close()
        server.should_exit = True
        thread.join(20)
        bound.close()
        assert not thread.is_alive()


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


class Served:
    """The command itself, in a process that may be killed."""

    def __init__(self, store: Path, *arguments: str, port: int = 0):
        code = "import sys; from luce.cli.main import main; sys.argv[0] = 'luce'; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "annotate", "--store", str(store)]
            + ["--port", str(port), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], 180)
        self.link = self.process.stdout.readline().strip() if ready else ""
        if not self.link:
            self.process.kill()
            raise AssertionError(self.process.communicate()[1])
        self.port = int(self.link.rsplit(": ")[-1].split(":")[2].split("/")[0])

    def kill(self) -> None:
        """End it as a loss of power would."""
        self.process.kill()
        self.process.communicate()
