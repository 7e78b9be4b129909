"""What a soak found, out of its ledger and its samples of memory: a summary, and docs/soak.md."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from soak_checks import UNLIKE
from soak_memory import BLOCK_S, ENOUGH, WARM_UP, slopes_between, slopes_within
from soak_work import lines

LONG = ("long-train", "long-online", "long-server")
SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT")
LIVES = {
    "long-train": "training, from start to SIGTERM",
    "long-online": "online rounds, from start to SIGTERM",
    "long-server": "the annotation page, two people voting",
}
HEAD = """# Two hours under fire

Training, sampling, online rounds and people's votes, killed at random, resumed, and compared with
the same work undisturbed:

```text
python -m tests.soak --minutes 120 --seed 0 --out FOLDER
python -m tests.soak --page FOLDER
```

The first line runs it, the second writes this page. A shorter run is among the slow tests.

## What it has found

Each of these was a fault of luce, which it mended; tests hold it.

- A run that was killed while it saved its model left the half-written folder behind for good, as
  large as the model; and so did files of its rounds. The resume now takes them away.
- `adapter_config.json` had the layers of an adapter in another order in each process. They are
  sorted.
- Rounds came to a stop for good, at the 513th, where a sampled text held U+0085: Python's
  `splitlines` ends a line there, and JSON does not. The same held for names of annotators and
  sources in `metrics.jsonl` when a run was resumed.
- A training run grew by 800 MiB in its first hour: oneDNN kept 1,024 kernels, one for each shape of
  ragged rows. It keeps 128.

What is left grows by the round and not by the hour. An online run by itself held 714 MiB after 70
rounds of three seconds and 749 after 512, 80 KB a round. Of these, 12 KB are safetensors 0.8.0,
which keeps 64 bytes of every tensor that it reads, and less than 10 KB the run's own account of the
round; the rest no Python object holds, and where it is was not found. A run that was resumed at the
513th round held 699 MiB thirty rounds later, so length alone costs nothing. Rounds of a model worth
training take minutes, and a thousand of them would add some 80 MiB.

## What is run

Tiny models and ragged data, one row of which is too long: a reward model; DPO with a cached
reference, with all weights and with LoRA and dropout; KTO, SimPO, ORPO; three rounds of online DPO
and of RLOO, judged by that reward model; `luce sample`; and `luce annotate` with two people who
vote at once. Two seeds take turns. Each workload runs once to its end. Then it runs again and is
sent a signal up to four times: three of five are SIGKILL, the others SIGTERM and SIGINT. More than
half of the signals come at a random share of its files and steps, the others at a random second of
its processor time, so also while it loads, exports or writes its report. It goes on with
`--resume`; the page with the same store; `luce sample` from the start.

Beside that, three processes live long and are left alone: a training run in the first half, an
online run of many rounds in the second, and an annotation page all the while.

## What is checked

`ledger.jsonl` has a line for every start, signal, resume, end, round and vote, and for every step
with its rows.

- **Files**: every file of the run folder is that of the undisturbed run, byte for byte, but for
  the table below. No file more, no file less.
- **Steps**: each is in metrics.jsonl exactly once.
- **Rows**: the process itself notes what enters a gradient. A step that is done again has the same
  rows; in the steps that count, every line of the data is trained on once an epoch, or is held
  out, or is counted as dropped.
- **Samples**: in every round every prompt is answered and judged once.
- **Votes**: each that the page called saved is in the export exactly once.
- **Ends**: a process ends as its signal says, or with 0.

| may differ | why |
|---|---|
"""
MEMORY = """
## How memory is looked at

Resident memory is read every second. Within a process: the least-squares slope after the first
{warm:.0f} % of its life. From process to process: the slope of the peaks of the killed and resumed
ones in their order, and the largest of them beside that of the undisturbed run. Intervals are at
95 %, by the bootstrap; samples of the same {block:.0f} minutes are drawn together, and fewer than
{enough} such blocks, or processes, give none. Flat: the interval does not lie above 0, or a week
(as many processes as hours) at its upper end would add less than a tenth, or no process held more
than the undisturbed one. The long runs take only what processor time nobody else wants: one that
got little is still filling its caches when the first {warm:.0f} % are over, and is not flat yet.
"""
OPEN = "**open**"
MENDED = {
    "model/adapter_config.json: differs": "mended: the layers are sorted",
    "JSONDecodeError: Unterminated": "mended: only a newline ends a line",
    ".partial-": "mended: what was half-written is taken away by the resume",
}
"""Faults that a soak has found in luce, by their words, and what became of them."""
HEADS = ("workload", "compared", *SIGNALS, "resumed", "steps", "rows", "rounds", "votes", "faults")
WITHIN = """
| process | n | first, MiB | last, MiB | slope, MiB an hour | flat |
|---|---|---|---|---|---|
"""
BETWEEN = """
| workload | processes | undisturbed, MiB | largest, MiB | slope, MiB a process | flat |
|---|---|---|---|---|---|
"""


def workload(name: str) -> str:
    """`dpo-lora-1` is the workload dpo-lora of the second seed."""
    return name.rsplit("-", 1)[0] if name[-1:].isdigit() else name


def summary(folder: Path) -> dict[str, Any]:
    """What the ledger of a soak says, in numbers."""
    events = list(lines(folder / "ledger.jsonl"))
    about = next(event for event in events if event["event"] == "soak")
    works: dict[str, Counter[str]] = {}
    for event in events:
        if "work" in event and not event["work"].startswith("world"):
            _count(works.setdefault(workload(event["work"]), Counter()), event)
    samples = list(lines(folder / "memory.jsonl"))
    faults = standing(events)
    for name, counts in works.items():
        counts["fault"] = sum(workload(work) == name for work, _ in faults)
    return {
        **{name: about.get(name) for name in ("minutes", "seed", "only", "cores")},
        "ended": any(event["event"] == "done" for event in events),
        "hours": round(max(event["t"] for event in events) / 3600, 2),
        "cycles": sum(event["event"] == "cycle" for event in events),
        "workloads": {name: dict(counts) for name, counts in works.items()},
        "total": dict(sum(works.values(), Counter())),
        "again": len({(e["work"], e["cycle"]) for e in events if e["event"] == "again"}),
        "faults": [{"work": work, "what": what} for work, what in faults],
        "memory_within": [slope.plain() for slope in slopes_within(samples, LONG)],
        "memory_between": [slope.plain() for slope in slopes_between(events)],
    }


def standing(events: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Faults, by workload; those of a cycle that was checked again are what that check says."""
    found: list[tuple[str, str]] = []
    for event in events:
        if event["event"] == "fault":
            found.append((event["work"], event["what"]))
        elif event["event"] == "again":
            mark = f"cycle {event['cycle']}: "
            found = [(w, s) for w, s in found if w != event["work"] or not s.startswith(mark)]
            found += [(event["work"], mark + what) for what in event["faults"]]
    return found


def _count(counts: Counter[str], event: Mapping[str, Any]) -> None:
    kind = event["event"]
    if kind == "kill":
        counts[event["signal"]] += 1
    elif kind == "step":
        counts["steps"] += 1
        counts["steps_noted"] += 1
        counts["steps_done"] += event["done"]
        counts["rows"] += len(event["rows"])
    elif kind == "steps":
        counts["steps"] += event["steps"]
    elif kind == "long":
        counts["steps"] += event.get("steps", 0)
        counts["rows"] += event.get("rows", 0)
        counts["rounds"] += event.get("rounds", 0)
    elif kind == "samples":
        counts["samples"] += event["rows"]
    elif kind == "votes":
        counts["votes"] += event["exported"]
    elif kind == "round":
        counts["rounds"] += 1
    elif kind in ("start", "resume", "checked"):
        counts[kind] += 1


def table(rows: Iterable[Sequence[Any]]) -> str:
    return "".join(f"| {' | '.join(map(str, row))} |\n" for row in rows)


def page(runs: Sequence[Mapping[str, Any]]) -> str:
    """docs/soak.md, with a section for each of these summaries."""
    parts = [HEAD, table((f"`{name}`", why) for name, why in UNLIKE.items())]
    parts.append(MEMORY.format(warm=100 * WARM_UP, block=BLOCK_S / 60, enough=ENOUGH))
    for found in runs:
        parts.extend(_section(found))
    return "".join(parts)


def _section(found: Mapping[str, Any]) -> Iterator[str]:
    signals = sum(found["total"].get(name, 0) for name in SIGNALS)
    only = f" of {found['only'].replace(',', ', ')}" if found["only"] else ""
    only += "" if signals else ", left alone"
    yield (
        f"\n## {found['minutes']:.0f} minutes{only}\n\n"
        f"{found['hours']} hours, seed {found['seed']}, {found['cores']} cores shared with other "
        f"work; {found['cycles']} times through all workloads"
        f"{'' if found['ended'] else ', and it was still going'}.\n\n"
    )
    yield table([HEADS, ["---"] * len(HEADS)])
    columns = ("checked", *SIGNALS, "resume", "steps", "rows", "rounds", "votes", "fault")
    for name, counts in [*found["workloads"].items(), ("**all**", found["total"])]:
        yield table([[name, *(f"{counts.get(c, 0):,}" for c in columns)]])
    if done := found["total"].get("steps_done", 0):
        counted = found["total"]["steps_noted"]
        yield (
            f"\nFor {counted:,} of these steps, those of the runs that were killed, {done:,} were "
            "carried out: a signal threw some away, and they were done again.\n"
        )
    if found["again"]:
        yield (
            f"\nWhat {found['again']} cycles left was checked again, with a check that was itself "
            "at fault and is mended; the faults are those of the second check.\n"
        )
    if found["faults"]:
        yield "\n| fault of | what | since |\n|---|---|---|\n"
        yield table((f["work"], _cell(f["what"]), since(f["what"])) for f in found["faults"])
    if found["memory_within"]:
        yield WITHIN + table(
            _slope(slope | {"name": LIVES[slope["name"]]}) for slope in found["memory_within"]
        )
    if found["memory_between"]:
        yield BETWEEN + table(map(_slope, found["memory_between"]))


def since(what: str) -> str:
    """What became of a fault."""
    return next((told for name, told in MENDED.items() if name in what), OPEN)


def _slope(slope: Mapping[str, Any]) -> list[str]:
    value, low, high = (slope["slope"][key] for key in ("value", "low", "high"))
    words = f"{value:+.2f} [{low:+.2f}, {high:+.2f}]".replace("-", "−")
    mib = (f"{each:,.0f}" for each in slope["mib"])
    return [slope["name"], f"{slope['n']:,}", *mib, words, "yes" if slope["flat"] else "**no**"]


def _cell(text: str) -> str:
    """The first line of a message, as a cell of a table."""
    return text.strip().splitlines()[0][:160].replace("|", "\\|").replace("://", ":&#47;&#47;")


def write(folders: Sequence[Path], path: Path) -> list[dict[str, Any]]:
    """Write summary.json beside each ledger, and the page."""
    runs = [summary(folder) for folder in folders]
    for folder, found in zip(folders, runs, strict=True):
        (folder / "summary.json").write_text(json.dumps(found, indent=1) + "\n")
    path.write_text(page(runs), encoding="utf-8")
    return runs
