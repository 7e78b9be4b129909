"""Files that a run writes line by line, cut back to a step on resume; and the signal to stop."""

import json
import resource
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from luce.errors import LuceError
from luce.files import lines_of, write_jsonl

TERMINATED = 128 + signal.SIGTERM
"""Exit code of a run that stopped at a SIGTERM."""


@dataclass(frozen=True)
class RunFolder:
    """The files of a run that training writes."""

    path: Path

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def timing(self) -> Path:
        return self.path / "timing.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"


def keep_lines(folder: RunFolder, step: int, fresh: bool) -> None:
    """Cut what was written after the checkpoint (or a torn last line) off the files."""
    for path in (folder.metrics, folder.timing):
        if not path.exists():
            continue
        kept = [] if fresh else [r for r in whole_lines(path) if r["step"] <= step]
        write_jsonl(path, kept)


def whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file, but for a last line that a kill left unfinished.

    Raises:
        LuceError: another line is damaged: those after it are not to be lost with it.
    """
    text = path.read_text("utf-8", "surrogatepass")
    lines = lines_of(text)
    for number, line in enumerate(lines, start=1):
        try:
            yield json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines) and not text.endswith("\n"):
                return
            raise LuceError(
                f"{path}:{number}: not JSON ({error.msg}), and no line that a kill left "
                "unfinished. Mend or delete the line, then resume."
            ) from None


@contextmanager
def append(path: Path, really: bool) -> Iterator[Any]:
    """A function that writes a record to the end of a file and returns it; where `really` is False
    it only returns it."""
    if not really:
        yield lambda record: record
        return
    try:
        # unbuffered: what a full disk refuses is not tried again when the file is closed
        stream = open(path, "ab", buffering=0)  # noqa: SIM115 - closed below
    except OSError as error:
        raise _unwritable(path, error) from error

    def write(record: dict[str, Any]) -> dict[str, Any]:
        line = (json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")
        try:
            while line:
                line = line[stream.write(line) :]
        except OSError as error:
            raise _unwritable(path, error) from error
        return record

    try:
        yield write
    finally:
        stream.close()


def _unwritable(path: Path, error: OSError) -> LuceError:
    return LuceError(
        f"{path}: cannot be written ({error.strerror}). Make room or change output_dir, then "
        "resume."
    )


def timing_of(record: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """A line of timing.jsonl for a step that took so long."""
    peak = (
        torch.cuda.max_memory_allocated() / 2**20
        if torch.cuda.is_available()
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        / (2**20 if sys.platform == "darwin" else 2**10)
    )
    return {
        "step": record["step"],
        "seconds": round(seconds, 4),
        "tokens_per_second": round(record["tokens"] / seconds, 1),
        "groups_per_second": round(record["groups"] / seconds, 2),
        "peak_memory_mib": round(peak, 1),
    }


@contextmanager
def sigterm_noted() -> Iterator[dict[str, bool]]:
    """A flag that SIGTERM raises, which the loop looks at after every step; afterwards SIGTERM
    means again what it meant before."""
    stop = {"now": False}

    def ask(signum: int, frame: object) -> None:
        stop["now"] = True

    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may handle signals
        return
    before = signal.signal(signal.SIGTERM, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)
