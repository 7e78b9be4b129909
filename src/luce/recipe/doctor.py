"""What this machine has, and whether it is enough: the checks of `luce doctor`.

Nothing heavy is imported before it is asked for, so that a broken torch is told like anything else.
All texts are ASCII, so that they print where the locale is not UTF-8.
"""

import importlib
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TypeAlias

State: TypeAlias = Literal["ok", "note", "missing", "warning", "failed"]
"""`note`: a fact, not judged; `missing`: optional and not there; `failed`: luce needs it."""

WIDTH = 80
LABEL = 9
"""Columns of a line, and those of its state."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        group: the heading it belongs under.
        name: what was looked at.
        found: what there is.
        state: how it was judged.
        remedy: what to do, or "".
        value: the number or name behind `found`, for programs.
    """

    group: str
    name: str
    found: str
    state: State = "ok"
    remedy: str = ""
    value: Any = None


def examine(folder: Path) -> list[Check]:
    """Every check, in the order in which they are shown; a part that cannot be looked at is itself
    a failed check.

    Args:
        folder: the working folder, where runs would be written.
    """
    from luce.recipe.doctor_machine import devices, disk, environment, threads
    from luce.recipe.doctor_packages import extras, versions

    parts: dict[str, Callable[[], Iterable[Check]]] = {
        "versions": versions,
        "devices": devices,
        "layouts": layouts,
        "disk": lambda: disk(folder),
        "environment": lambda: (*threads(), *environment()),
        "extras": extras,
    }
    found: list[Check] = []
    for group, look in parts.items():
        try:
            found += look()
        except Exception as error:  # told as a check that failed, with the package that broke
            first = (str(error).strip().splitlines() or [""])[0]
            words = f"{type(error).__name__}: {first}"
            remedy = "Mend what is named, or reinstall luce: pip install --force-reinstall luce"
            found.append(Check(group, group, words, "failed", remedy))
    return found


def layouts() -> list[Check]:
    """Every layout of rows on every kind of device, against padded rows in float32."""
    import torch

    from luce.models.self_test import self_test

    kinds = [torch.device("cpu")]
    if torch.cuda.is_available():
        kinds.append(torch.device("cuda"))
    if torch.backends.mps.is_available():
        kinds.append(torch.device("mps"))
    found = []
    for test in (test for device in kinds for test in self_test(device)):
        way = f"{test.layout}/{test.kernel}" if test.kernel else test.layout
        name = f"{test.device} {test.dtype} {way}"
        if test.nats is None or test.gradient is None:
            told = f"did not run: {test.reason}"
        else:
            told = f"{test.nats:.1e} nats; gradient {test.gradient:.1e}"
        needed = test.layout == "padded" and test.dtype == "float32"
        state: State = "ok" if test.right else "failed" if needed else "warning"
        remedy = ""
        if state == "failed":
            remedy = "Plain rows are wrong on this device: reinstall torch for it."
        elif state == "warning":
            remedy = "luce measures this for each model and takes a slower layout that is right."
        found.append(Check("layouts", name, told, state, remedy, asdict(test)))
    return found


def failed(checks: Sequence[Check]) -> list[Check]:
    """Those without which luce does not work here."""
    return [check for check in checks if check.state == "failed"]


def plain(checks: Sequence[Check]) -> dict[str, Any]:
    """The checks as a tree for JSON."""
    return {
        "luce": metadata.version("luce"),
        "ok": not failed(checks),
        "checks": [asdict(check) for check in checks],
    }


def report_lines(checks: Sequence[Check]) -> list[str]:
    """The checks for people, in lines of at most 80 characters."""
    lines: list[str] = []
    for group in dict.fromkeys(check.group for check in checks):
        mine = [check for check in checks if check.group == group]
        wide = max(len(check.name) for check in mine)
        lines.append(HEADINGS.get(group, group))
        for check in mine:
            state = "" if check.state == "note" else check.state
            head = f"  {state:<{LABEL}}{check.name:<{wide}}  "
            lines += _wrapped(head, check.found)
            if check.remedy:
                lines += _wrapped(" " * (LABEL + 2), check.remedy)
        lines.append("")
    counts = Counter(check.state for check in checks)
    if wrong := failed(checks):
        return [*lines, *_wrapped("", f"Failed: {', '.join(c.name for c in wrong)}.")]
    told = f"luce works here: {counts['ok']} checks passed"
    for state, words in (("warning", "to look at"), ("missing", "optional and missing")):
        told += f", {counts[state]} {words}" if counts[state] else ""
    return [*lines, f"{told}."]


HEADINGS = {
    "layouts": "layouts of rows, on a tiny model: largest difference from padded rows",
    "disk": "folders",
    "extras": "optional extras",
}


def _wrapped(head: str, text: str) -> list[str]:
    """The text behind its head, and further lines under its start; long words (paths) are cut."""
    indent = " " * min(len(head), 24)
    wrapper = textwrap.TextWrapper(WIDTH, initial_indent=head, subsequent_indent=indent)
    return wrapper.wrap(text) or [head.rstrip()]


def importable(module: str) -> str:
    """Why the module does not load; empty where it does."""
    try:
        importlib.import_module(module)
    except Exception as error:
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ""
