"""A run as JSON: its verdict so far, and the points of its curves."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from luce.report import words
from luce.report.board.folder import NotInside, runs_in
from luce.report.board.index import row_of
from luce.report.curves import CURVES, Stroke, describe, downsample, strokes
from luce.report.online_page import online_curves, verdict, whole_lines
from luce.report.page import visible
from luce.report.run import Run, Series, load_run
from luce.report.watch import look

POINTS = 300
"""Most points sent of one line."""


def live(root: Path, path: str) -> dict[str, Any]:
    """Everything that the page of a run shows, in plain JSON without nan.

    Raises:
        LuceError: the folder holds no run, or a file of it is damaged.
        OSError: it has gone meanwhile.
    """
    folder = root / path
    row = row_of(root, path) or {}
    if row.get("kind") == "lab":
        return row | _experiment(folder)
    if row.get("kind") == "sweep":
        raise NotInside("A sweep is there, and no run; the table of all runs links to its page.")
    run, seen = load_run(folder), look(folder)
    online = run.get("kind") == "online"
    lines = (
        whole_lines(folder / "rounds.jsonl")
        if online and (folder / "rounds.jsonl").exists()
        else []
    )
    said = (verdict(lines) if lines else ["No round is done."]) if online else words.verdict(run)
    cautions = [] if online else [f"{c.what} {c.remedy}" for c in words.cautions(run)]
    return row | {
        "status": seen.words(),
        "verdict": [visible(sentence.replace("`", "")) for sentence in said],
        "cautions": [
            visible(text.replace("`", "")) for text in cautions if "not finished" not in text
        ],
        "formula": visible(str(run.get("objective.formula") or "")),
        "has_report": not online or bool(lines),
        "curves": _rounds(folder, lines) if online else _curves(run),
        "parts": _parts(folder),
    }


def _curves(run: Run) -> list[dict[str, Any]]:
    found = []
    for curve in CURVES:
        drawn = strokes(run, curve)
        if drawn:
            found.append(
                {
                    "name": curve.name,
                    "title": curve.title,
                    "unit": curve.unit,
                    "x": "step",
                    "note": curve.note,
                    "level": curve.level,
                    "words": describe(curve, run),
                    "lines": [_line(stroke) for stroke in drawn],
                }
            )
    return found


def _rounds(folder: Path, lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The curves of an online run, over annotations."""
    started = folder / "initial.json"
    start = json.loads(started.read_text("utf-8")) if started.exists() else {}
    found = []
    for part in online_curves(start, lines):
        drawn = []
        for role, points in part.series.items():
            x, y, low, high = (list(column) for column in zip(*points, strict=True))
            ends = {"low": [_known(v) for v in low], "high": [_known(v) for v in high]}
            line = {"kind": "points", "role": part.roles[role], "label": role}
            drawn.append(line | {"x": x, "y": [_known(v) for v in y], "ends": x} | ends)
        about = {"name": part.name, "title": part.title, "unit": part.unit, "note": part.note}
        found.append(
            about | {"x": "annotations", "level": part.level, "words": part.words(), "lines": drawn}
        )
    return found


def _line(stroke: Stroke) -> dict[str, Any]:
    thin = downsample(stroke.series, POINTS)
    made = {"kind": stroke.kind, "role": stroke.role, "label": stroke.label} | _points(
        thin, "x", "y"
    )
    if stroke.low is not None and stroke.high is not None:
        made |= _points(stroke.low, "ends", "low") | _points(stroke.high, "ends", "high")
    return made


def _points(series: Series, x: str, y: str) -> dict[str, Any]:
    return {x: list(series.steps), y: [_known(value) for value in series.values]}


def _known(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _parts(folder: Path) -> list[dict[str, str]]:
    """The runs that a run is made of: the training of each round."""
    rounds = folder / "rounds"
    if not rounds.is_dir() or rounds.is_symlink():
        return []
    return [
        {"path": found.relative_to(folder).as_posix(), "state": look(found).state}
        for found in sorted(runs_in(rounds))
    ]


def _experiment(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "numbers.json").read_text("utf-8"))
    checks = found.get("checks")
    pictures = [p.name for p in sorted(folder.glob("*.png")) if not p.is_symlink()]
    return {
        "status": "",
        "verdict": [visible(str(found["claim"])), visible(str(found["verdict"]))],
        "cautions": [],
        "formula": "",
        "has_report": False,
        "curves": [],
        "parts": [],
        "checks": [_check(one) for one in checks] if isinstance(checks, list) else [],
        "pictures": pictures,
    }


def _check(one: dict[str, Any]) -> dict[str, str]:
    passed = one.get("passed")
    return {
        "what": visible(str(one.get("what", ""))),
        "expected": visible(str(one.get("expected", ""))),
        "passed": "yes" if passed else "no",
    }
