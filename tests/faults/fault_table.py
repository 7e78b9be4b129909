"""The page of faults, written from what a run of the suite reported."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ANSWERED = "answered clearly"
SAME = "survived with the same result"
COUNTED = "counted and listed"
ANSWERS = (ANSWERED, SAME, COUNTED)
SECTIONS = {
    1: "Data",
    43: "Tokenizer and template",
    61: "Numbers",
    72: "Training and checkpoints",
    93: "Judges, online rounds, votes",
    112: "Attackers, secrets, repetition",
}
"""The first number of each section."""
LAST = 127

HEAD = """# Faults

What goes wrong sooner or later, put into the real program on purpose: files, bytes, signals, full
disks, servers that misbehave. The suite writes this page out of its own results:

```text
python -m tests.faults
```

An answer is one of three. **{answered}**: the program stops, or refuses, with a message that names
the place and the remedy. **{same}**: it goes on, and the result is that of a run without the fault.
**{counted}**: it goes on without the part that is at fault, which is counted and listed. Anything
else would be silent.

"""


@dataclass
class Line:
    """A row of the page: a fault, and what came of its tests."""

    numbers: tuple[int, ...]
    what: str
    answer: str
    says: list[str] = field(default_factory=list)
    outcomes: set[str] = field(default_factory=set)

    @property
    def failed(self) -> bool:
        return self.outcomes != {"passed"}


class Collector:
    """A pytest plugin: what every test that is marked as a fault reported.

    Attributes:
        lines: by number and name.
        passed, failed: tests, those without a mark too.
    """

    def __init__(self) -> None:
        self.lines: dict[tuple[tuple[int, ...], str], Line] = {}
        self.passed = self.failed = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and not report.failed and not report.skipped:
            return
        self.passed += report.passed
        self.failed += report.failed
        found: dict[str, Any] = {}
        for name, value in report.user_properties:
            found.setdefault(name, value)
        if "fault" not in found:
            return
        fault = found["fault"]
        key = (tuple(fault["numbers"]), fault["what"])
        line = self.lines.setdefault(key, Line(key[0], key[1], fault["answer"]))
        line.outcomes.add(report.outcome)
        if "says" in found:
            line.says.append(found["says"])


def page(lines: Iterable[Line]) -> str:
    """The page in markdown."""
    ordered = sorted(lines, key=lambda line: (line.numbers, line.what))
    answers = {name: sum(line.answer == name for line in ordered) for name in ANSWERS}
    answered, same, counted = ANSWERS
    parts = [HEAD.format(answered=answered, same=same, counted=counted)]
    numbers = {number for line in ordered for number in line.numbers}
    failed = [line for line in ordered if line.failed]
    rows = "".join(f"| {name} | {count} |\n" for name, count in answers.items())
    parts.append(
        f"| | |\n|---|---|\n| numbers of the list tried | {len(numbers)} of {LAST} |\n"
        f"| faults tried | {len(ordered)} |\n{rows}| silent | {len(failed)} |\n"
    )
    starts = [*SECTIONS, LAST + 1]
    for (first, title), end in zip(SECTIONS.items(), starts[1:], strict=True):
        own = [line for line in ordered if first <= line.numbers[0] < end]
        parts.append(f"\n## {title}\n\n| | fault | luce | what it says |\n|---|---|---|---|\n")
        parts += [_row(line) for line in own]
    return "".join(parts)


def _row(line: Line) -> str:
    said = line.says[-1] if line.says else ""
    answer = "FAILED" if line.failed else line.answer
    shown = " ".join(map(str, line.numbers))
    return f"| {shown} | {_cell(line.what)} | {answer} | {_cell(said)} |\n"


def _cell(text: str) -> str:
    """Text as a cell of a table shows it, whatever marks it holds."""
    safe = "".join(c if c.isprintable() else "�" for c in text)
    for mark in ("\\", "|", "*", "_", "`", "[", "]", "<", ">", "$"):
        safe = safe.replace(
            mark, f"\\{mark}" if mark not in "<>" else ("&lt;", "&gt;")[mark == ">"]
        )
    return safe.replace("://", ":&#47;&#47;")


def write(collector: Collector, path: Path) -> None:
    """Write the page."""
    path.write_text(page(collector.lines.values()), encoding="utf-8")
