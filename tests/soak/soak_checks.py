"""What must hold at the end of a workload: every file, step, row and vote. Each check returns what
is wrong, a sentence each; nothing wrong is an empty list."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

UNLIKE = {
    ".lock": "held while a process runs, empty",
    "timing.jsonl": "how long each step took, and the memory it held",
    "manifest.json": "`created` is the time of the start; all else is compared",
    "report.html": "shows `created`; all else is compared",
    "checkpoints": "SIGTERM saves one more; the last step's is compared",
    "*.safetensors": "the library writes a header in no fixed order; header read, tensors by byte",
}
"""What may differ between a run and the same run again, and why. All other files are compared byte
for byte."""
TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")
VOTE_TIMES = ("at", "seconds")
"""Columns of an exported vote that tell when it was given and how long it took."""


def content(path: Path) -> bytes:
    """What of a file is compared."""
    found = path.read_bytes()
    if path.name == "manifest.json":
        tree = json.loads(found)
        tree.pop("created", None)
        return json.dumps(tree).encode()
    if path.suffix == ".safetensors":
        end = 8 + int.from_bytes(found[:8], "little")
        return json.dumps(json.loads(found[8:end]), sort_keys=True).encode() + found[end:]
    return TIME.sub(b"(time)", found) if path.name == "report.html" else found


def compared(folder: Path) -> dict[str, Path]:
    """The files of a run that are compared, by name."""
    found, last = {}, newest_checkpoints(folder)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or path.name in (".lock", "timing.jsonl"):
            continue
        if "checkpoints" in path.relative_to(folder).parts and not any(
            path.is_relative_to(each) for each in last
        ):
            continue
        found[name] = path
    return found


def newest_checkpoints(folder: Path) -> list[Path]:
    return [sorted(c.glob("step-*"))[-1] for c in folder.rglob("checkpoints") if any(c.iterdir())]


def differences(ours: Path, theirs: Path) -> list[str]:
    """Files of two runs that are not the same, or that one of them does not have."""
    one, other = compared(ours), compared(theirs)
    found = [f"{name}: only in one of the runs" for name in sorted(one.keys() ^ other.keys())]
    return found + [
        f"{name}: differs" for name in one
        if name in other and content(one[name]) != content(other[name])
    ]  # fmt: skip


def step_faults(metrics: Iterable[Mapping[str, Any]], steps: int) -> list[str]:
    """Every step stands in the log exactly once, in order."""
    found = [record["step"] for record in metrics if record.get("split") == "train"]
    if found == list(range(1, steps + 1)):
        return []
    counts = Counter(found)
    wrong = [f"step {s} is there {n} times" for s, n in sorted(counts.items()) if n != 1]
    wrong += [f"step {s} is missing" for s in range(1, steps + 1) if s not in counts]
    wrong += [f"step {s} is beyond the last" for s in counts if s > steps]
    return wrong or ["the steps are out of order"]


def kept_steps(noted: Iterable[Mapping[str, Any]]) -> tuple[dict[int, list[Any]], list[str]]:
    """The rows of every step, by its last execution; and what is wrong: a step that had other rows
    when it was done again."""
    kept: dict[int, list[Any]] = {}
    wrong = []
    for line in noted:
        rows = [tuple(row) for row in line["rows"]]
        if kept.get(line["step"], rows) != rows:
            wrong.append(f"step {line['step']} had other rows when it was done again")
        kept[line["step"]] = rows
    return kept, wrong


def row_faults(
    kept: Mapping[int, Sequence[Any]],
    lines: int,
    left_out: Iterable[int],
    epochs: int,
    steps: int,
) -> list[str]:
    """Every line of the data is either left out (dropped or held out) or in the kept steps exactly
    as often as there are epochs.

    Args:
        kept: of each step, (file, line) of its rows.
        lines: of the data.
        left_out: the numbers of lines that are dropped or held out.
    """
    wrong = [f"the rows of step {s} were not noted" for s in range(1, steps + 1) if s not in kept]
    counts = Counter(line for s in range(1, steps + 1) for _, line in kept.get(s, ()))
    out = set(left_out)
    for line in range(1, lines + 1):
        expected = 0 if line in out else epochs
        if counts[line] != expected:
            wrong.append(f"line {line} was trained on {counts[line]} times, not {expected}")
    return wrong + [f"line {line} is not in the data" for line in counts if not 0 < line <= lines]


def sample_faults(
    rows: Iterable[Mapping[str, Any]], prompts: Sequence[str], samples: int
) -> list[str]:
    """Every prompt has so many samples."""
    counts = Counter(row["prompt"] for row in rows)
    wrong = [
        f"{p!r} has {counts[p]} samples, not {samples}" for p in prompts if counts[p] != samples
    ]
    return wrong + [f"{p!r} was not asked" for p in counts if p not in set(prompts)]


def vote_faults(
    exported: Iterable[Mapping[str, Any]],
    acknowledged: Iterable[tuple[str, str]],
    expected: int | None = None,
) -> list[str]:
    """Every vote that the server said it had saved is exported exactly once, and none is exported
    twice."""
    counts = Counter((row["annotator"], prompt_text(row["prompt"])) for row in exported)
    told = Counter(acknowledged)
    wrong = [f"{who} on {what!r} is exported {n} times" for (who, what), n in counts.items()
             if n != 1]  # fmt: skip
    wrong += [f"{who} was told twice that {what!r} is saved" for (who, what), n in told.items()
              if n != 1]  # fmt: skip
    wrong += [f"{who} on {what!r} was saved and is lost" for who, what in told
              if (who, what) not in counts]  # fmt: skip
    if expected is not None and sum(counts.values()) != expected:
        wrong.append(f"{sum(counts.values())} votes, not {expected}")
    return wrong


def prompt_text(prompt: Any) -> str:
    return prompt if isinstance(prompt, str) else prompt[-1]["content"]


def vote_key(row: Mapping[str, Any]) -> str:
    """An exported vote without its times, to compare and to sort by."""
    return json.dumps({k: v for k, v in row.items() if k not in VOTE_TIMES}, sort_keys=True)


def unlike_lines(
    ours: Iterable[Mapping[str, Any]],
    theirs: Iterable[Mapping[str, Any]],
    key: Callable[[Mapping[str, Any]], str] = vote_key,
) -> list[str]:
    """Rows that only one of two exports has, whatever their order."""
    one, other = Counter(map(key, ours)), Counter(map(key, theirs))
    return [f"only in one export: {row[:120]}" for row in ((one - other) + (other - one))]
