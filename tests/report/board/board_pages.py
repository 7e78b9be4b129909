"""A board served for tests in a thread of this process, and a client that says anything."""

import http.client
import json
import threading
import time
from contextlib import contextmanager

from luce.annotate.server.keys import Keys
from luce.annotate.server.listen import listen
from luce.report.board.api import Door
from luce.report.board.serve import server_on
from luce.report.sweep_fold import SweepRun
from luce.report.sweep_page import sweep_json

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


RATES = {"0.1": 0.70, "0.5": 0.60}


def planned_sweep(folder, status="finished"):
    """Two values of beta and two seeds; the last run is as `status` says."""
    found = []
    for beta, rate in RATES.items():
        for seed in ("0", "1"):
            last = (beta, seed) == ("0.5", "1")
            results = {} if last and status != "finished" else {"win_rate": rate, "kl": 2.0}
            found.append(
                SweepRun(
                    f"beta={beta},seed={seed}",
                    folder / f"beta={beta},seed={seed}",
                    {"objective.dpo.beta": beta, "train.seed": seed},
                    status if last else "finished",
                    "no memory" if last and status == "failed" else "",
                    results,
                )
            )
    return found


def write_sweep(folder, status="finished"):
    runs = planned_sweep(folder, status)
    command = ["luce", "sweep", "recipe.yaml", "objective.dpo.beta=0.1,0.5", "train.seed=0,1"]
    (folder / "sweep.json").write_text(json.dumps(sweep_json("recipe.yaml", runs, command)))
    return runs
