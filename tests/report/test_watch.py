"""Following a run: what it is told to be, and the page that is written as it grows."""

import fcntl
import json
import os
import re
import time

import pytest

from luce.cli.main import run as command
from luce.errors import LuceError
from luce.report.watch import QUIET_S, last_step, look, stamp_of, watch

REFRESH = '<meta http-equiv="refresh" content="'


@pytest.fixture
def growing(write_run, with_manifest, make_metrics):
    """A run folder in training, long quiet; `add(n)` writes n more lines, `end(status)` ends it."""
    rows = make_metrics()
    folder = write_run(
        manifest=with_manifest({}) | {"status": "running"}, metrics=rows[:40], evaluation=None
    )

    class Growing:
        path = folder

        def add(self, n: int) -> None:
            with open(folder / "metrics.jsonl", "a") as stream:
                have = len((folder / "metrics.jsonl").read_text().splitlines())
                stream.writelines(json.dumps(row) + "\n" for row in rows[have : have + n])

        def end(self, status: str) -> None:
            manifest = json.loads((folder / "manifest.json").read_text())
            (folder / "manifest.json").write_text(json.dumps(manifest | {"status": status}))

        def age(self, seconds: float) -> None:
            then = time.time() - seconds
            for path in folder.iterdir():
                os.utime(path, (then, then))

    return Growing()


@pytest.fixture
def held(growing):
    """The same, with a process at work on it."""
    with open(growing.path / ".lock", "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        growing.age(10 * QUIET_S)
        yield growing


def test_a_run_is_alive_while_its_lock_is_held_and_stopped_after(growing):
    growing.age(10 * QUIET_S)
    assert look(growing.path).state == "stopped"
    with open(growing.path / ".lock", "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert look(growing.path).state == "running"
        assert look(growing.path).words() == "In training at step 39."
    assert look(growing.path).state == "stopped"


def test_looking_leaves_the_lock_to_others(growing):
    growing.age(10 * QUIET_S)
    with open(growing.path / ".lock", "w") as stream:
        assert look(growing.path).state == "stopped"
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_run_that_has_just_written_is_alive_without_a_lock(growing):
    growing.age(0)
    assert look(growing.path).state == "running"


@pytest.mark.parametrize("status", ["finished", "failed"])
def test_an_ended_run_is_what_its_manifest_says(growing, status):
    growing.end(status)
    assert look(growing.path).state == status


def test_a_stopped_run_says_so_with_step_time_and_remedy(growing):
    growing.age(3600)
    words = look(growing.path).words()
    assert re.search(r"stopped at step 39: .* written on \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", words)
    assert "--resume" in words


def test_a_half_written_manifest_is_no_error(growing):
    (growing.path / "manifest.json").write_text('{"status": "fini')
    assert look(growing.path).status == ""


def test_the_last_step_is_of_the_last_whole_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert last_step(path) is None
    path.write_text("")
    assert last_step(path) is None
    path.write_text('{"step": 7}\n{"step": 8}\n{"step": 9')
    assert last_step(path) == 8
    path.write_text("".join(f'{{"step": {i}, "x": "{"y" * 900}"}}\n' for i in range(300)))
    assert last_step(path) == 299


def test_the_page_follows_the_run_to_its_end(held, monkeypatch):
    pages, lines = [], []

    def sleep(seconds):
        pages.append((held.path / "report.html").read_text())
        if len(pages) == 1:
            held.add(100)
        elif len(pages) == 3:
            held.end("finished")

    seen = watch(held.path, 0.5, lines.append, sleep)
    assert seen.state == "finished"
    first, second, third = pages
    assert f'{REFRESH}2"' in first and "In training at step 39." in first
    assert "In training at step 137." in second and third == second
    last = (held.path / "report.html").read_text()
    assert REFRESH not in last and "In training" not in last
    assert len(lines) == 3  # once for each change, not for each look
    assert not list(held.path.glob(".report*"))


def test_a_killed_run_is_told_and_its_page_waits_for_nothing(growing):
    growing.age(10 * QUIET_S)
    seen = watch(growing.path, 1.0, sleep=pytest.fail)
    assert seen.state == "stopped"
    page = (growing.path / "report.html").read_text()
    assert "The run was stopped at step 39" in page and REFRESH not in page
    assert command(["report", str(growing.path), "--watch"]) == 1


def test_whoever_stops_watching_leaves_a_page_that_waits_for_nothing(held):
    def interrupted(seconds):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch(held.path, 1.0, sleep=interrupted)
    page = (held.path / "report.html").read_text()
    assert REFRESH not in page and "Nobody follows it" in page


def test_a_run_that_has_only_begun_is_waited_for(held):
    manifest = (held.path / "manifest.json").read_bytes()
    (held.path / "manifest.json").unlink()
    slept, lines = [], []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            (held.path / "manifest.json").write_bytes(manifest)
            held.end("finished")

    assert watch(held.path, 3.0, lines.append, sleep).state == "finished"
    assert slept == [3.0, 3.0, 3.0]
    assert [line.split(": ")[1] for line in lines] == [
        "nothing to report yet.",
        "The run is finished.",
    ]


def test_following_takes_no_more_than_its_share(held, monkeypatch):
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr("luce.report.watch.time.perf_counter", lambda: next(clock))
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        held.end("finished")

    watch(held.path, 5.0, sleep=sleep)
    assert slept == [100.0]  # the page took 20 s


def test_a_finished_run_is_written_once(run_folder, capsys):
    assert command(["report", str(run_folder), "--watch", "--every", "1"]) == 0
    assert REFRESH not in (run_folder / "report.html").read_text()
    assert capsys.readouterr().out == f"{run_folder / 'report.html'}\n"


def test_what_cannot_be_followed_is_refused(tmp_path, run_folder, capsys):
    with pytest.raises(LuceError, match="no such folder"):
        watch(tmp_path / "none")
    with pytest.raises(LuceError, match="not a run"):
        watch(tmp_path)
    with pytest.raises(LuceError, match="above 0"):
        watch(run_folder, 0.0)
    assert command(["report", str(run_folder), str(tmp_path), "--watch"]) == 2
    assert "follows one run" in capsys.readouterr().err


def test_a_stamp_changes_with_any_file(run_folder):
    before = stamp_of(run_folder)
    with open(run_folder / "samples.jsonl", "a") as stream:
        stream.write("{}\n")
    assert stamp_of(run_folder) != before
