"""People at once, each a process of their own, and a server that is killed while they vote."""

import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from annotation_client import Browser
from annotation_pages import Served, served, tasks

from luce.annotate.server import Settings, Store, Verdict, records
from luce.cli.main import run

CLIENT = Path(__file__).with_name("annotation_client.py")


def person(port: int, name: str, folder: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, str(CLIENT), str(port), name, str(folder / name)])


def heard(folder: Path, name: str) -> list[int]:
    return [int(line) for line in (folder / name).read_text().split()]


def test_eight_people_at_once_lose_nothing(tmp_path):
    store = Store(tmp_path / "v.sqlite", Settings(overlap=4))
    store.add(tasks(50))
    names = [f"p{i}" for i in range(8)]
    with served(store) as port:
        people = [person(port, name, tmp_path) for name in names]
        assert [each.wait(300) for each in people] == [0] * 8
    found = records(store)
    told = {name: heard(tmp_path, name) for name in names}
    assert Counter(r.annotator for r in found) == {n: len(v) for n, v in told.items() if v}
    assert len(found) == 200
    assert set(Counter(record.task.id for record in found).values()) == {4}
    assert {record.verdict.ranks for record in found} == {(2, 1)}
    store.close()


def test_stores_of_eight_processes_lose_nothing(tmp_path):
    path = tmp_path / "v.sqlite"
    store = Store(path, Settings(overlap=8))
    store.add(tasks(20))
    failed = []

    def judge(name: str) -> None:
        own = Store(path)  # a connection of its own, as another process has
        try:
            while (shown := own.next(name)) is not None:
                own.vote(name, shown.task, f"{name}{shown.task:016d}", Verdict("tie", (1, 1)))
        except Exception as error:
            failed.append(error)
        finally:
            own.close()

    threads = [threading.Thread(target=judge, args=(f"p{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(records(store)) == 160
    store.close()


def test_a_server_killed_in_a_vote_loses_and_doubles_nothing(tmp_path):
    path = tmp_path / "v.sqlite"
    store = Store(path, Settings(overlap=2))
    store.add(tasks(60))
    store.close()
    first = Served(path)
    people = [person(first.port, name, tmp_path) for name in ("anna", "ben")]
    while not (tmp_path / "anna").exists() or len(heard(tmp_path, "anna")) < 5:
        time.sleep(0.02)
    first.kill()
    assert all(each.poll() is None for each in people)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    kept = connection.execute("SELECT count(*) FROM votes WHERE undone IS NULL").fetchone()[0]
    connection.close()
    told = {name: heard(tmp_path, name) for name in ("anna", "ben")}
    assert sum(map(len, told.values())) <= kept < 120
    again = Served(path, port=first.port)
    try:
        assert [each.wait(300) for each in people] == [0, 0]
        # the same session goes on; nobody has signed in again
        browser = Browser(again.port)
        browser.sign_in("anna")
        assert browser.next()["task"] is None
        browser.close()
    finally:
        again.kill()
    store = Store(path)
    votes = Counter((r.task.id, r.annotator) for r in records(store))
    assert len(votes) == 120 and set(votes.values()) == {1}
    assert all(len(set(heard(tmp_path, n))) == 60 for n in ("anna", "ben"))
    store.close()


def test_from_tasks_to_data_as_the_documentation_says(tmp_path, capsys):
    rows = [
        {"prompt": f"q{i}", "responses": [{"response": f"Right {i}", "model": "new"},
                                          {"response": f"Wrong {i}", "model": "old"}]}
        for i in range(4)
    ]  # fmt: skip
    (tmp_path / "tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "annotations.sqlite"
    page = Served(path, str(tmp_path / "tasks.jsonl"), "--overlap", "2")
    people = [person(page.port, name, tmp_path) for name in ("anna", "ben")]
    assert [each.wait(120) for each in people] == [0, 0]
    assert run(["annotate", "agreement", str(path)]) == 0  # while it is served
    assert "4 of 4 tasks are judged by enough people" in capsys.readouterr().out
    page.process.send_signal(signal.SIGINT)
    _, told = page.process.communicate(timeout=60)
    assert page.process.returncode == 0 and "Traceback" not in told
    out = {to: tmp_path / f"{to}.jsonl" for to in ("pairs", "verdicts")}
    for to, file in out.items():
        assert run(["annotate", "export", str(path), "--out", str(file), "--to", to]) == 0
    pairs = [json.loads(line) for line in out["pairs"].read_text().splitlines()]
    assert len(pairs) == 8 and {row["chosen_model"] for row in pairs} == {"new"}
    assert run(["eval", "win-rate", "--verdicts", str(out["verdicts"])]) == 0
    assert "1.000" in capsys.readouterr().out
