"""Following a run: its report written anew as it grows."""

import time
from collections.abc import Callable
from pathlib import Path

from luce.errors import LuceError
from luce.files import write_atomic
from luce.report.html import report_page
from luce.report.numbers import counted
from luce.report.page import Frame
from luce.report.state import (
    FILES,
    QUIET_S,
    Seen,
    Stamp,
    State,
    is_held,
    last_step,
    look,
    stamp_of,
)

__all__ = [
    "FILES", "QUIET_S", "Seen", "Stamp", "State", "is_held", "last_step", "look", "stamp_of",
    "watch",
]  # fmt: skip

AT_MOST = 0.2
"""The share of a processor that following a run may take: training needs it more."""


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
