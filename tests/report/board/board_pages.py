"""A board served for tests in a thread of this process, and a client that says anything."""

import http.client
import json
import threading
import time
from contextlib import contextmanager

from luce.annotate.server.keys import Keys
from luce.annotate.server.serve import listen
from luce.report.board.api import Door
from luce.report.board.serve import server_on

KEYS = Keys(b"k" * 32)


@contextmanager
def served(root, door=None):
    """The port of a board."""
    bound = listen("127.0.0.1", 0)
    server = server_on(bound, root, KEYS, door or Door())
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield bound.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        bound.close()
        assert not thread.is_alive()


def get(port, path, headers=None, method="GET", body=None):
    """Status, headers and body (of JSON: what it says)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        reply = connection.getresponse()
        content = reply.read()
        found = dict((name.lower(), value) for name, value in reply.getheaders())
        if found.get("content-type", "").startswith("application/json"):
            return reply.status, found, json.loads(content)
        return reply.status, found, content.decode("utf-8", "replace")
    finally:
        connection.close()


def all_runs(port):
    """Every row of the table, however long reading takes."""
    while True:
        status, _, found = get(port, "/api/runs")
        assert status == 200, found
        if not found["pending"]:
            return {row["shown"]: row for row in found["runs"]}
