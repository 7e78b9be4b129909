"""What a run of an experiment leaves: figures as PNG and SVG, numbers as JSON, a table to read."""

import io
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from luce.files import write_atomic, write_json
from luce.lab.experiment import Check, Experiment, Result
from luce.report.plots import library_style

WIDTH = 80
"""Columns of the printed table."""


def plain(experiment: Experiment, result: Result, seeds: int, quick: bool) -> dict[str, Any]:
    """Everything but the figures, for JSON."""
    return {
        "name": experiment.name,
        "claim": experiment.claim,
        "source": experiment.source,
        "seeds": seeds,
        "quick": quick,
        "passed": result.passed,
        "checks": [check.plain() for check in result.checks],
        "verdict": result.verdict,
        "tables": {name: [dict(row) for row in rows] for name, rows in result.tables.items()},
    }


def save(
    folder: Path, experiment: Experiment, result: Result, seeds: int, quick: bool
) -> list[Path]:
    """Write `numbers.json` and each figure twice into a folder, made if need be."""
    written = [folder / "numbers.json"]
    write_json(written[0], plain(experiment, result, seeds, quick))
    for name, figure in result.figures.items():
        for ending in ("png", "svg"):
            drawn = io.BytesIO()
            with library_style():
                figure.savefig(drawn, format=ending, dpi=160, metadata=_undated(ending))
            written.append(folder / f"{name}.{ending}")
            write_atomic(written[-1], drawn.getvalue())
    return written


def _undated(ending: str) -> dict[str, None]:
    """No date inside, so that the same numbers make the same file."""
    return {"Date": None} if ending == "svg" else {}


def lines(experiment: Experiment, result: Result) -> Iterator[str]:
    """Claim, checks and verdict, in `WIDTH` columns."""
    yield from textwrap.wrap(f"{experiment.claim} ({experiment.source})", WIDTH)
    yield ""
    yield from table(result.checks)
    yield ""
    yield from textwrap.wrap(result.verdict, WIDTH)


def table(checks: tuple[Check, ...]) -> Iterator[str]:
    """One row a check: whether it passed, what it is of, what was found and what was expected."""
    found = [_digits(check) for check in checks]
    columns = (["found", *found], ["expected", *(check.expected for check in checks)])
    right = [max(map(len, column)) for column in columns]
    left = WIDTH - sum(right) - 6
    yield f"  {'':{left}}  {'found':{right[0]}}  expected"
    for check, number in zip(checks, found, strict=True):
        first, *more = textwrap.wrap(check.what, left)
        mark = "✓" if check.passed else "✗"
        yield f"{mark} {first:{left}}  {number:{right[0]}}  {check.expected}".rstrip()
        yield from (f"  {line}" for line in more)


def _digits(check: Check) -> str:
    """Three digits where they matter, fewer where the number is large."""
    size = abs(check.found.value)
    return check.found.words(3 if size < 1 else 2 if size < 20 else 0)
