"""`python -m tests.soak --minutes 120 --seed 0 --out FOLDER`: train, sample, annotate, kill at
random, resume, compare. `python -m tests.soak --page FOLDER` writes docs/soak.md of it."""

import argparse
import itertools
import json
import os
import random
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from soak_cycle import Soak, again, one  # noqa: E402
from soak_long import NAMES, LongRuns, LongServer, make_world  # noqa: E402
from soak_page import OPEN, since, write  # noqa: E402
from soak_processes import Ledger, Watch  # noqa: E402
from soak_work import WORK, write_data  # noqa: E402

PAGE = HERE.parents[1] / "docs" / "soak.md"
KILLS = 4
"""Signals that a workload gets at most in a cycle."""
SEEDS = 2
"""Worlds that the cycles go through in turn."""


def soak(out: Path, minutes: float, seed: int, only: str | None) -> int:
    """Carry it out; the number of faults."""
    out.mkdir(parents=True)
    # a program that was started in the background has SIGINT ignored, and so would its children
    signal.signal(signal.SIGINT, signal.default_int_handler)
    end = time.monotonic() + 60 * minutes
    ledger = Ledger(out / "ledger.jsonl")
    watch = Watch(out / "memory.jsonl", ledger)
    watch.start()
    ledger.tell("soak", minutes=minutes, seed=seed, only=only, cores=os.cpu_count())
    bench = Soak(out, ledger, watch, random.Random(seed))
    names = only.split(",") if only else [*(work.name for work in WORK), "long"]
    lanes: list[threading.Thread] = []
    for turn in itertools.count():
        world = turn % SEEDS
        judge = out / f"seed-{world}" / "reward" / "calm" / "run" / "model"
        for work in WORK:
            first = work.name == "reward" and not judge.exists()
            if time.monotonic() >= end or (work.name not in names and not first):
                continue
            try:
                if first:
                    make_world(bench, world, HERE)
                    write_data(out / f"seed-{world}" / "world", world)
                one(bench, work, world, turn, KILLS if work.name in names else 0)
            except Exception:
                bench.fault(f"{work.name}-{world}", traceback.format_exc()[-1500:])
            if not lanes and judge.exists():
                lanes = long_lives(bench, names, end - time.monotonic())
        if not any(work.name in names for work in WORK):
            time.sleep(max(0.0, end - time.monotonic()))
        if time.monotonic() >= end:
            break
        ledger.tell("cycle", number=turn)
    for lane in lanes:
        lane.join(3600)
        if lane.is_alive():
            bench.fault(lane.name, "did not come to an end")
    watch.stop.set()
    watch.join(30)
    ledger.tell("done", seconds=round(time.monotonic() - ledger.started, 1))
    events = map(json.loads, (out / "ledger.jsonl").read_text().splitlines())
    faults = [event for event in events if event["event"] == "fault"]
    for event in faults:
        print(f"{event['work']}: {event['what']}", file=sys.stderr)
    return len(faults)


def long_lives(bench: Soak, names: list[str], seconds: float) -> list[threading.Thread]:
    """Start what lives long among these names. A kind of run that is asked for by itself has the
    processor like any other process."""
    kinds = [kind for kind, name in NAMES.items() if name in names]
    lanes: list[threading.Thread] = []
    if kinds:
        lanes.append(LongRuns(bench, "long-runs", seconds, kinds, idle=False))
    elif "long" in names:
        lanes.append(LongRuns(bench, "long-runs", seconds, list(NAMES), idle=True))
        lanes.append(LongServer(bench, "long-server", seconds))
    for lane in lanes:
        lane.start()
    return lanes


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a new folder")
    parser.add_argument(
        "--only",
        help="names of workloads, with commas; long: all that lives "
        "long; long-train, long-online: one of them",
    )
    parser.add_argument("--again", type=Path, help="check again what faults left in this folder")
    parser.add_argument("--page", type=Path, nargs="+", help="write the page of these folders")
    given = parser.parse_args(arguments)
    if given.again is not None:
        return min(1, again(given.again.resolve()))
    if given.page is not None:
        runs = write(given.page, PAGE)
        print(*(found["total"] for found in runs), sep="\n")
        return min(1, sum(since(f["what"]) == OPEN for found in runs for f in found["faults"]))
    if given.out is None:
        parser.error("--out: name a new folder")
    return min(1, soak(given.out.resolve(), given.minutes, given.seed, given.only))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
