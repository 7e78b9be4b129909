"""Votes that must not be lost: crashes, crowds, repetitions, clocks and full disks."""

import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from annotation_client import Browser
from annotation_pages import Served, served, tasks
from fault_bench import ANSWERED, SAME, case

from luce.annotate.server import Settings, Store, records

CLIENT = Path(__file__).parents[1] / "annotate" / "server" / "annotation_client.py"


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "votes.sqlite", Settings(overlap=2))
    yield opened
    opened.close()


@pytest.fixture
def anna(store):
    store.add(tasks(6))
    with served(store) as port:
        browser = Browser(port)
        assert browser.sign_in("anna").status == 200
        yield browser


def whole(path: Path) -> int:
    """Votes in a store whose file is in order."""
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return connection.execute("SELECT count(*) FROM votes WHERE undone IS NULL").fetchone()[0]
    finally:
        connection.close()


@case(108, what="kill -9 of the annotation server while somebody votes", answer=SAME)
def test_a_server_killed_in_a_vote(tmp_path, says) -> None:
    path = tmp_path / "votes.sqlite"
    store = Store(path, Settings())
    store.add(tasks(40))
    store.close()
    server = Served(path)
    browser, heard, stop = Browser(server.port), [], []
    assert browser.sign_in("anna").status == 200

    def judge() -> None:
        try:
            while (task := browser.next()["task"]) is not None:
                if browser.vote(task["number"], f"{len(heard):016d}").json.get("saved"):
                    heard.append(task["number"])
        except Exception as error:
            stop.append(error)

    voting = threading.Thread(target=judge)
    voting.start()
    while len(heard) < 7:
        time.sleep(0.001)
    server.kill()
    voting.join(30)
    browser.close()
    assert stop and len(heard) <= whole(path) <= len(heard) + 1
    store = Store(path)
    assert {r.vote for r in records(store)} >= set(range(1, len(heard) + 1))
    store.close()
    says("every vote that the page called saved is there; the file passes its integrity check")


@case(109, what="eight annotators at once", answer=SAME)
def test_eight_at_once(tmp_path, says) -> None:
    store = Store(tmp_path / "votes.sqlite", Settings(overlap=8))
    store.add(tasks(12))
    names = [f"p{i}" for i in range(8)]
    with served(store) as port:
        command = [sys.executable, str(CLIENT), str(port)]
        people = [subprocess.Popen([*command, name, str(tmp_path / name)]) for name in names]
        assert [each.wait(300) for each in people] == [0] * 8
    found = Counter((r.task.id, r.annotator) for r in records(store))
    store.close()
    assert len(found) == 96 and set(found.values()) == {1}
    says("96 of 96 votes by 8 processes, each counted once")


@case(110, what="one vote sent twice, and two tabs that disagree", answer=ANSWERED)
def test_the_same_vote_twice(anna, store, says) -> None:
    number = anna.next()["task"]["number"]
    first, second = (anna.vote(number, "k" * 16) for _ in range(2))
    assert (first.json["repeated"], second.json["repeated"]) == (False, True)
    other = anna.vote(number, "l" * 16, ranks=(2, 1))
    assert other.status == 409 and len(records(store)) == 1
    says(f"the same key counts once; another tab is told: {other.json['error']}")


@case(111, what="a clock that jumps back an hour, and another time zone", answer=SAME)
def test_a_clock_that_jumps(anna, store, says, monkeypatch) -> None:
    anna.vote(anna.next()["task"]["number"], "a" * 16)
    given = anna.next()["task"]["number"]
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() - 3600)
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        assert anna.vote(given, "b" * 16).json["saved"]
        found = records(store)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert [r.at[-6:] for r in found] == ["+00:00"] * 2
    assert len(found) == 2 and all(r.seconds >= 0 for r in found)
    says("times are UTC, no judgement takes less than 0 seconds, and their order is by number")


@case(111, what="a full disk while somebody votes", answer=ANSWERED)
def test_a_full_disk_in_a_vote(anna, store, says) -> None:
    pages = store.database.do(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    store.database.do(lambda c: c.execute(f"PRAGMA max_page_count = {pages}"))
    votes, number = 0, anna.next()["task"]["number"]
    while (reply := anna.vote(number, f"{votes:016d}", comment="x" * 4000)).status == 200:
        votes, number = votes + 1, anna.next()["task"]["number"]
    assert reply.status == 503 and len(records(store)) == votes
    store.database.do(lambda c: c.execute("PRAGMA max_page_count = 100000"))
    assert anna.vote(number, f"{votes:016d}", comment="x" * 4000).json["saved"]
    says(reply.json["error"])


@case(119, what="a spreadsheet formula in what people wrote", answer=SAME)
def test_a_formula_in_a_table(anna, store, tmp_path, says) -> None:
    from luce.cli.main import run

    formulas = ("=cmd|' /C calc'!A0", "+1", "-1", "@x")
    for number, formula in enumerate(formulas):
        task = anna.next()["task"]["number"]
        assert anna.vote(task, f"{number:016d}", comment=formula).json["saved"]
    out = tmp_path / "votes.csv"
    path = str(store.database.path)
    assert run(["annotate", "export", path, "--out", str(out), "--to", "csv"]) == 0
    text = out.read_text()
    assert all(f"'{formula}" in text and f",{formula}" not in text for formula in formulas)
    says("every such cell begins with an apostrophe: it is text")


@case(120, what="an annotator who looks for the models behind the responses", answer=SAME)
def test_who_wrote_what_is_nowhere(anna, says) -> None:
    texts = [anna.send("GET", path).body for path in ("/", "/page.js", "/view.js", "/api/me")]
    firsts = set()
    while (given := anna.post("/api/next", {})).json["task"]:
        texts.append(given.body + json.dumps(given.headers).encode())
        task = given.json["task"]
        firsts.add(task["responses"][0]["text"].split()[0])
        texts.append(anna.vote(task["number"], f"{task['number']:016d}").body)
    assert b"canary" not in b"".join(texts) and firsts == {"Right", "Wrong"}
    says("the models' names are in no reply and no header, and the order shown is drawn")
