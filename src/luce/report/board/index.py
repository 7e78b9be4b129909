"""One line for each run of a folder, read once and again only where a file of it changed."""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from luce.errors import LuceError
from luce.report import summary, words
from luce.report.board.folder import leads_out, runs_in
from luce.report.board.sweeps import FILE, sweep_cells, sweep_of, waiting_state
from luce.report.numbers import is_number, number, number_range, percent, percent_range
from luce.report.online_page import verdict, whole_lines
from luce.report.page import visible
from luce.report.run import Run, dig, load_run
from luce.report.summary import Interval
from luce.report.watch import Stamp, look, stamp_of

BUDGET_S = 0.4
"""A request reads no longer than this; what is left is told as pending."""

SEEN_S = 1.0
"""The folder is searched again for new runs after so many seconds."""

Row = dict[str, Any]


@dataclass(frozen=True)
class _Kept:
    stamp: Stamp
    row: Row | None


class Index:
    """The runs below a folder, by path.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path):
        self.root = root
        self._kept: dict[str, _Kept] = {}
        self._lock = Lock()
        self._found: list[str] = []
        self._searched = 0.0

    def rows(self, budget_s: float = BUDGET_S) -> tuple[list[Row], int]:
        """The rows that are known, in the order of paths, and how many runs are still to be read;
        at least one is read."""
        with self._lock:
            begun = time.monotonic()
            self._search(begun)
            rows, pending, read = [], 0, 0
            for path in self._found:
                stamp = _stamp(self.root / path)
                kept = self._kept.get(path)
                if kept is None or kept.stamp != stamp:
                    if read and time.monotonic() - begun > budget_s:
                        pending += 1
                        rows += [kept.row] if kept is not None and kept.row is not None else []
                        continue
                    read += 1
                    kept = self._kept[path] = _Kept(stamp, row_of(self.root, path))
                rows += [self._now(path, kept.row)] if kept.row is not None else []
            sweeps = {row["path"] for row in rows if row["kind"] == "sweep" and row["path"]}
            return [row | {"sweep": sweep_of(row["path"], sweeps)} for row in rows], pending

    def _now(self, path: str, row: Row) -> Row:
        """The row with its state at this moment, which may change without a file."""
        if row["state"] in ("finished", "failed", "damaged", ""):
            return row
        folder = self.root / path
        state = waiting_state(folder) if row["kind"] == "sweep" else look(folder).state
        return row | {"state": state}

    def _search(self, now: float) -> None:
        if self._searched and now - self._searched < SEEN_S:
            return
        folders = sorted(runs_in(self.root))
        self._found = [folder.relative_to(self.root).as_posix() for folder in folders]
        there = set(self._found)
        self._kept = {path: kept for path, kept in self._kept.items() if path in there}
        self._searched = time.monotonic()


def tag_of(value: Any) -> str:
    """A short text that differs where the value does."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _stamp(folder: Path) -> Stamp:
    return stamp_of(folder, ("numbers.json", FILE))


def row_of(root: Path, path: str) -> Row | None:
    """What the table says of a run; None where the folder holds none of luce's, or has gone."""
    folder = root / path
    try:
        if (name := leads_out(root, folder)) is not None:
            return _damaged(path, folder, f"{name} is a link out of the folder.")
        if not (folder / "manifest.json").exists():
            return (_sweep if (folder / FILE).exists() else _experiment)(path, folder)
        manifest = json.loads((folder / "manifest.json").read_text("utf-8", "replace"))
        if not isinstance(manifest, dict) or not ({"luce", "objective", "kind"} & manifest.keys()):
            return None
        return _online(path, folder) if manifest.get("kind") == "online" else _run(path, folder)
    except (LuceError, ValueError, KeyError, TypeError, AttributeError) as error:
        # half a file, or one that is no more what a run writes: the others are shown all the same
        told = str(error) if isinstance(error, LuceError) else f"A file is damaged ({error})."
        return _damaged(path, folder, told)
    except OSError:
        return None


def _run(path: str, folder: Path) -> Row:
    run, seen = load_run(folder), look(folder)
    lengths = summary.length_of(run)
    return _row(path, run.name, "run", seen.state, words.verdict(run)[0]) | {
        "objective": _objective(run),
        "step": seen.step,
        "steps": seen.total,
        "created": str(run.get("created") or ""),
        "written": _moment(seen.written),
        "win_rate": _share(summary.win_rate_of(run), "prompts"),
        "accuracy": _share(summary.accuracy_of(run), "pairs"),
        "kl": _mean(summary.kl_of(run), "responses"),
        "length": _mean(lengths[1], "responses") if lengths else None,
    }


def _online(path: str, folder: Path) -> Row:
    run, seen = load_run(folder), look(folder)
    rounds = folder / "rounds.jsonl"
    lines = whole_lines(rounds) if rounds.exists() else []
    told = verdict(lines)[0] if lines else "No round is done."
    return _row(path, run.name, "online", seen.state, told) | {
        "objective": _objective(run),
        "rounds": len(lines),
        "created": str(run.get("created") or ""),
        "written": _moment(seen.written),
        "win_rate": _share(_entry(run.evaluation, "annotator.initial.win_rate"), "prompts"),
        "kl": _mean(_entry(run.evaluation, "kl.initial"), "responses"),
        "length": _mean(_entry(run.evaluation, "length"), "responses"),
    }


def _sweep(path: str, folder: Path) -> Row:
    written = {"written": _moment((folder / FILE).stat().st_mtime)}
    return _row(path, folder.name, "sweep", "", "") | sweep_cells(folder) | written


def _experiment(path: str, folder: Path) -> Row | None:
    """An experiment of the lab, from its numbers.json."""
    found = json.loads((folder / "numbers.json").read_text("utf-8", "replace"))
    if not isinstance(found, dict) or not {"name", "claim", "verdict"} <= found.keys():
        return None
    row = _row(path, str(found["name"]), "lab", "", str(found["verdict"]))
    return row | {
        "passed": found.get("passed"),
        "written": _moment((folder / "numbers.json").stat().st_mtime),
    }


def _row(path: str, name: str, kind: str, state: str, headline: str) -> Row:
    """What every line has; without a `path` there is nothing to ask for: a name that is no text, or
    hides what it is."""
    return {
        "path": path if path.isprintable() else "",
        "shown": visible(path),
        "name": visible(name),
        "kind": kind,
        "state": state,
        "headline": visible(headline.replace("`", "")),
        "error": "",
    }


def _damaged(path: str, folder: Path, why: str) -> Row:
    error = visible(why.replace(str(folder), "").lstrip("/: "))
    return _row(path, folder.name, "run", "damaged", "") | {"error": error}


def _objective(run: Run) -> str:
    given = run.get("objective.parameters") or {}
    # of its parameters the numbers: what else there is stands in the report
    told = ", ".join(f"{key} {value:g}" for key, value in given.items() if is_number(value))
    name = str(run.get("objective.name") or "")
    return visible(f"{name} ({told})" if told else name)


def _entry(record: Mapping[str, Any], path: str) -> Interval | None:
    found = dig(record, path)
    if not isinstance(found, Mapping) or not isinstance(found.get("value"), int | float):
        return None
    low, high = (float(found[e]) if found.get(e) is not None else float("nan") for e in _ENDS)
    return Interval(float(found["value"]), low, high, found.get("n"))


_ENDS = ("low", "high")


def _share(of: Interval | None, unit: str) -> Row | None:
    return (
        None if of is None else _told(of, percent(of.value), percent_range(of.low, of.high), unit)
    )


def _mean(of: Interval | None, unit: str) -> Row | None:
    return None if of is None else _told(of, number(of.value), number_range(of.low, of.high), unit)


def _told(of: Interval, text: str, interval: str, unit: str) -> Row:
    n = "" if of.n is None else f"n = {of.n:,} {unit}"
    return {"value": of.value, "text": text, "interval": interval, "n": n}


def _moment(seconds: float) -> str:
    """ISO 8601, UTC; "" of no time."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds else ""
