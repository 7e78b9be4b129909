"""What becomes of a run: whether it is finished, has failed, or somebody works on it, and at which
step it is."""

import fcntl
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeAlias

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

    @property
    def at(self) -> str:
        """Where it is: " at step 40 of 215"; "" before the first step."""
        of = "" if self.total is None else f" of {self.total:,}"
        return "" if self.step is None else f" at step {self.step:,}{of}"

    def words(self) -> str:
        """What a reader of an unfinished run should know; "" of a finished one."""
        at = self.at
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


def stamp_of(folder: Path, more: Sequence[str] = ()) -> Stamp:
    """Name, time and size of every file of a run that reports are made of, and of `more`."""
    found = []
    for name in (*FILES, *more):
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
