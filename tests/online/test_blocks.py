"""Shared work: every block once, whoever does it and whoever dies."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from luce.errors import LuceError
from luce.online.blocks import Blocks


def make(block: int) -> list[dict]:
    return [{"block": block, "row": i} for i in range(2)]


def whole(count: int) -> list[dict]:
    return [row for block in range(count) for row in make(block)]


def test_blocks_are_done_once_and_read_in_order(tmp_path: Path) -> None:
    blocks, asked = Blocks(tmp_path / "b", 5), []
    with pytest.raises(LuceError, match="block-000000.jsonl: missing"):
        blocks.rows()
    told: list[tuple[int, int]] = []
    done = blocks.work(
        lambda b: asked.append(b) or make(b), progress=lambda *given: told.append(given)
    )
    assert done == 5 and asked == [0, 1, 2, 3, 4] and told == [(i, 5) for i in range(1, 6)]
    assert blocks.rows() == whole(5)
    assert Blocks(tmp_path / "b", 5).work(pytest.fail) == 0  # nothing is left to do
    assert not list((tmp_path / "b").glob("*.lease"))


def test_threads_share_the_work(tmp_path: Path) -> None:
    done: list[int] = []

    def slow(block: int) -> list[dict]:
        time.sleep(0.01)
        done.append(block)
        return make(block)

    crew = [
        threading.Thread(target=lambda: Blocks(tmp_path / "b", 20).work(slow)) for _ in range(4)
    ]
    for one in crew:
        one.start()
    for one in crew:
        one.join()
    assert sorted(done) == list(range(20))
    assert Blocks(tmp_path / "b", 20).rows() == whole(20)


def lease(folder: Path, block: int, **holder: object) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"block-{block:06d}.lease"
    path.write_text(json.dumps(holder))
    return path


def test_a_living_holder_is_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    path = lease(folder, 0, owner="x", host="elsewhere", pid=1)
    blocks = Blocks(folder, 2)
    assert blocks.work(make, wait=False) == 1 and blocks.missing() == [0]
    assert path.exists()


def test_a_dead_holder_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    lease(folder, 0, owner="x", host=os.uname().nodename, pid=gone.pid)
    stale = lease(folder, 1, owner="y", host="elsewhere", pid=1)
    os.utime(stale, (time.time() - 100, time.time() - 100))
    torn = lease(folder, 2)
    torn.write_text("")  # killed between making the file and writing it
    os.utime(torn, (time.time() - 100, time.time() - 100))
    assert Blocks(folder, 3, lease=60.0).work(make) == 3
    assert Blocks(folder, 3).rows() == whole(3)


def test_a_lease_is_kept_while_work_goes_on(tmp_path: Path, monkeypatch) -> None:
    folder, seen = tmp_path / "b", []

    def slow(block: int) -> list[dict]:
        time.sleep(0.6)
        # by now the lease would be stale to another host, had nobody touched it
        monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
        seen.append(Blocks(folder, 1, lease=0.2)._dead(folder / "block-000000.lease"))
        return make(block)

    blocks = Blocks(folder, 1, lease=0.2)
    blocks.work(slow)
    assert seen == [False]


def test_a_failure_gives_the_block_back(tmp_path: Path) -> None:
    def fails(block: int) -> list[dict]:
        raise LuceError("no")

    blocks = Blocks(tmp_path / "b", 1)
    with pytest.raises(LuceError, match="no"):
        blocks.work(fails)
    assert blocks.work(make) == 1


@pytest.mark.parametrize("cut", [0, 5, -1])
def test_a_block_that_was_cut_is_made_again(tmp_path: Path, cut: int) -> None:
    Blocks(tmp_path / "b", 3).work(make)
    path, asked = tmp_path / "b" / "block-000001.jsonl", []
    path.write_bytes(path.read_bytes()[:cut])
    assert Blocks(tmp_path / "b", 3).work(lambda b: asked.append(b) or make(b)) == 1
    assert asked == [1] and Blocks(tmp_path / "b", 3).rows() == whole(3)


def become_whole(folder: Path) -> None:
    """What who leads does once all blocks are there."""
    (folder.parent / f"{folder.name}.jsonl").write_text("")
    shutil.rmtree(folder)


def test_nothing_is_done_again_after_all_was(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    blocks = Blocks(folder, 3)
    blocks.work(make)
    become_whole(folder)
    assert blocks.missing() == [] and blocks.work(pytest.fail) == 0
    assert not folder.exists()


@pytest.mark.parametrize("wait", [True, False])
def test_a_process_that_was_stopped_while_the_others_finished(tmp_path: Path, wait: bool) -> None:
    """It has seen a block missing, stands still, and claims it when folder and blocks are gone."""
    folder = tmp_path / "b"
    late = Blocks(folder, 2)
    take = late._take

    def stopped(place: Path) -> bool:
        if folder.exists():
            lease(folder, 0, owner="x", host="elsewhere", pid=1)
            become_whole(folder)
        return take(place)

    late._take = stopped  # type: ignore[method-assign]
    assert late.work(pytest.fail, wait=wait) == 0
    assert not folder.exists()


def test_a_process_that_holds_what_the_others_have_done(tmp_path: Path) -> None:
    """It was thought dead after it had taken the lease."""
    folder = tmp_path / "b"
    late = Blocks(folder, 1)
    take = late._take

    def stopped(place: Path) -> bool:
        taken = take(place)
        become_whole(folder)
        return taken

    late._take = stopped  # type: ignore[method-assign]
    assert late.work(pytest.fail) == 0
    assert not folder.exists()


def test_a_folder_taken_away_before_all_is_done(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    blocks = Blocks(folder, 2)

    def removed(block: int) -> list[dict]:
        if not block:
            shutil.rmtree(folder)
        return make(block)

    assert blocks.work(removed) == 2 and blocks.rows() == whole(2)
