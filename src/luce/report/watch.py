"""Following a run: whether somebody works on it, and its report written anew as it grows."""

import fcntl
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeAlias

from luce.errors import LuceError
from luce.files import write_atomic
from luce.report.html import report_page
from luce.report.numbers import counted
from luce.report.page import Frame

State: TypeAlias = Literal["finished", "failed", "running", "stopped", "unknown"]
"""`stopped`: it is not finished, and no process works on it any more."""

FILES = (
    "manifest.json",
    "metrics.jsonl",
    "rounds.jsonl",
    "samples.jsonl",
    "evaluation.json",
    "held_out.jsonl",
    "rows.jsonl",
    "recipe.yaml",
    "timing.jsonl",
    "initial.json",
    "prompts.jsonl",
)
"""What reports are made of."""

QUIET_S = 10.0
"""A run that wrote something within so many seconds is taken to be alive."""

AT_MOST = 0.2
"""The share of a processor that following a run may take: training needs it more."""

Stamp: TypeAlias = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Seen:
    """A run at a moment.

    Attributes:
        state: what becomes of it.
        status: what its manifest says, "" where it has none yet.
        stamp: differs as soon as a file of it does.
        step: the last one written; None before the first.
        total: how many steps the run is to have; None where its manifest does not say.
        written: when the newest of its files was, in seconds of the epoch; 0 without any.
    """

    state: State
    status: str
    stamp: Stamp
    step: int | None
    written: float
    total: int | None = None

    def words(self) -> str:
        """What a reader of an unfinished run should know; "" of a finished one."""
        of = "" if self.total is None else f" of {self.total:,}"
        at = "" if self.step is None else f" at step {self.step:,}{of}"
        if self.state == "running":
            return f"In training{at}."
        if self.state == "failed":
            return f"The run failed{at}."
        if self.state == "finished":
            return ""
        when = datetime.fromtimestamp(self.written).astimezone().isoformat(" ", "seconds")
        return (
            f"The run was stopped{at}: no process works on it any more, and its last file was "
            f"written on {when}. `--resume` of its command goes on with it."
        )


def stamp_of(folder: Path) -> Stamp:
    """Name, time and size of every file of a run that reports are made of."""
    found = []
    for name in FILES:
        try:
            about = (folder / name).stat()
        except OSError:
            continue
        found.append((name, about.st_mtime_ns, about.st_size))
    return tuple(found)


def look(folder: Path) -> Seen:
    """The run as it is now; whatever is missing or half-written is passed over."""
    stamp = stamp_of(folder)
    try:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8", "replace"))
    except (OSError, ValueError):
        manifest = {}
    manifest = manifest if isinstance(manifest, dict) else {}
    status = str(manifest.get("status") or "")
    written = max((time_ns for _, time_ns, _ in stamp), default=0) / 1e9
    known: dict[str, State] = {"finished": "finished", "failed": "failed"}
    state = known.get(status)
    if state is None:
        alive = time.time() - written < QUIET_S or is_held(folder)
        state = "running" if alive else "stopped" if status == "running" else "unknown"
    total = manifest.get("total_steps")
    total = total if type(total) is int else None
    return Seen(state, status, stamp, last_step(folder / "metrics.jsonl"), written, total)


def is_held(folder: Path) -> bool:
    """Whether a process of this machine, or of one that shares the folder, works on the run: it
    holds `.lock` as long as it lives."""
    try:
        with open(folder / ".lock") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is none
        return False
    return False


def last_step(path: Path) -> int | None:
    """The step of the last whole line; None where there is none."""
    try:
        with open(path, "rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - 65_536))
            lines = stream.read().split(b"\n")[:-1]
    except OSError:
        return None
    for line in reversed(lines):
        try:
            step = json.loads(line).get("step")
        except (ValueError, AttributeError):
            continue
        if type(step) is int:
            return step
    return None


def watch(
    folder: Path | str,
    every_s: float = 5.0,
    told: Callable[[str], None] = lambda line: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Seen:
    """Write report.html of a run each time that something was added to it, until it is finished,
    has failed, or nobody works on it any more; returns what it was then.

    While the run goes on, the page reads itself again in the browser.

    Args:
        every_s: seconds between looks; longer where writing the page takes more than a fifth of
            that, for the run needs the processor.
        told: takes a line for each page.

    Raises:
        LuceError: no such folder; or it holds no run and nobody works on it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise LuceError(
            f"{folder}: no such folder. Start the run, and give its output_dir, for example "
            "runs/<name>."
        )
    if not every_s > 0:
        raise LuceError(f"--every {every_s:g}: give a number of seconds above 0.")
    before: Seen | None = None
    waiting, took = False, 0.0
    try:
        while True:
            seen = look(folder)
            going = seen.state == "running"
            changed = before is None or (seen.stamp, seen.state) != (before.stamp, before.state)
            if changed:
                begun = time.perf_counter()
                made = _write(folder, seen, max(2, round(every_s)))
                took = time.perf_counter() - begun
                before = seen if made else None
                if made or not waiting:
                    told(_line(folder, seen) if made else f"{folder}: nothing to report yet.")
                waiting = not made
            if not going:
                if before is None:
                    report_page(folder)  # says what is missing
                return seen
            sleep(max(every_s, took / AT_MOST))
    finally:
        if before is not None and before.state == "running":
            _write(folder, before, None)  # whoever has it open is not to wait for more


def _write(folder: Path, seen: Seen, refresh_s: int | None) -> bool:
    """Write the page; False where the run has nothing yet to make one of."""
    going = seen.state == "running"
    status = seen.words()
    if going:
        status += (
            " Nobody follows it at the moment: write the report again to see more."
            if refresh_s is None
            else f" This page follows it, every {counted(refresh_s, 'second')}."
        )
    try:
        page = report_page(folder, Frame(status, refresh_s if going else None))
    except LuceError:
        if not going:
            raise
        return False
    except OSError:  # a file went while it was read
        return False
    write_atomic(folder / "report.html", page)
    return True


def _line(folder: Path, seen: Seen) -> str:
    return f"{folder / 'report.html'}: {seen.words() or 'The run is finished.'}"
