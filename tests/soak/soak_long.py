"""Processes that live long, beside the cycles, on what processor time nobody else wants: a training
run, then an online run of many rounds; and an annotation server all the while."""

import json
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from soak_checks import kept_steps, step_faults, vote_faults
from soak_cycle import Soak
from soak_processes import Process, facts_of, fair, last_step
from soak_votes import Person, serve, votes_of
from soak_work import WORK, lines, luce, recipe_of, write_tasks

NAMES = {"dpo": "long-train", "online": "long-online"}
ENDLESS = 10**6


class Long(threading.Thread):
    """Runs `work` until told to stop; what fails goes into the ledger."""

    def __init__(self, soak: Soak, name: str, seconds: float):
        super().__init__(daemon=True)
        self.soak, self.name, self.until = soak, name, time.monotonic() + seconds

    def run(self) -> None:
        try:
            self.work()
        except Exception:
            self.soak.fault(self.name, traceback.format_exc()[-1500:])

    def work(self) -> None:
        raise RuntimeError(f"{self.name}: nothing to do")


class LongRuns(Long):
    """Runs of these kinds one after the other, each for its share of the time.

    Attributes:
        kinds: workloads of `NAMES`.
        idle: take only the processor time that nobody else wants.
    """

    def __init__(self, soak: Soak, name: str, seconds: float, kinds: Sequence[str], idle: bool):
        super().__init__(soak, name, seconds)
        self.kinds, self.idle = kinds, idle

    def work(self) -> None:
        start = time.monotonic()
        share = (self.until - start) / len(self.kinds)
        for i, kind in enumerate(self.kinds, 1):
            self.one(kind, start + i * share)

    def one(self, kind: str, until: float) -> None:
        soak, name = self.soak, NAMES[kind]
        folder, base = soak.out / name, soak.out / "seed-0"
        folder.mkdir()
        work = next(w for w in WORK if w.name == kind)
        recipe = recipe_of(work, base / "world", 0, base / "reward" / "calm" / "run" / "model")
        if kind == "dpo":
            recipe["train"] |= {"epochs": float(ENDLESS), "save_steps": 50, "eval_steps": 50}
            recipe["evaluate"]["sample_steps"] = 100
            # a rate so small that the policy stays what it is: steps of the first hour and of the
            # last do the same work
            recipe["train"] |= {"learning_rate": 1e-6}
        else:
            recipe["online"] |= {"rounds": ENDLESS}
            recipe["train"] |= {"learning_rate": 1e-6}
        (folder / "recipe.yaml").write_text(json.dumps(recipe))
        process = Process(luce(work.command, "recipe.yaml"), folder, idle=self.idle)
        soak.watch.add(process, name)
        soak.ledger.tell("start", work=name, role="long", pid=process.pid)
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.5)
        cpu_s, step = process.cpu_s(), last_step(folder)
        process.signal(signal.SIGTERM)
        code = process.wait()
        soak.ledger.tell("end", work=name, role="long", cpu_s=cpu_s, step=step, **facts_of(process))
        if code == 0 or not fair(code, "SIGTERM"):
            said = process.log.read_text(errors="replace")[-1500:]
            soak.fault(name, f"ended with {code}: {said}")
        self.check(name, folder, kind)

    def check(self, name: str, folder: Path, kind: str) -> None:
        run, soak = folder / "run", self.soak
        if kind == "online":
            rounds = [line["round"] for line in lines(run / "rounds.jsonl")]
            soak.ledger.tell("long", work=name, rounds=len(rounds))
            if rounds != list(range(1, len(rounds) + 1)):
                soak.fault(name, f"rounds {rounds}")
            return
        steps = last_step(folder)
        kept, wrong = kept_steps(lines(folder / "rows-noted.jsonl"))
        counts: dict[Any, int] = {}
        for step in range(1, steps + 1):
            for row in kept.get(step, ()):
                counts[row] = counts.get(row, 0) + 1
        wrong += step_faults(lines(run / "metrics.jsonl"), steps)
        if max(counts.values()) - min(counts.values()) > 1:
            wrong.append(
                f"rows were trained on {min(counts.values())}–{max(counts.values())} times"
            )
        soak.ledger.tell("long", work=name, steps=steps, rows=sum(counts.values()))
        for what in wrong:
            soak.fault(name, what)


class LongServer(Long):
    """An annotation server that is never killed, and two people who vote every few seconds."""

    def work(self) -> None:
        soak, folder = self.soak, self.soak.out / self.name
        folder.mkdir()
        write_tasks(folder / "tasks.jsonl", 20_000)
        process, port = serve(folder, folder / "tasks.jsonl", 0, luce())
        soak.watch.add(process, self.name)
        soak.ledger.tell("start", work=self.name, role="long", pid=process.pid)
        people = [Person(port, each, soak.ledger, self.name, pause_s=1.0) for each in ("cy", "di")]
        for person in people:
            person.start()
        while time.monotonic() < self.until and process.poll() is None:
            time.sleep(0.5)
        for person in people:
            person.enough.set()
        for person in people:
            person.join(600)
            if person.failed is not None:
                soak.fault(self.name, f"{person.name}: {person.failed!r}")
        process.signal(signal.SIGINT)
        soak.end(self.name, "long", process, "SIGINT")
        out = ["--to", "votes", "--out", "votes.jsonl"]
        command = luce("annotate", "export", "annotations.sqlite", *out)
        soak.end(self.name, "export", soak.start(self.name, "export", command, folder))
        votes = votes_of(folder / "votes.jsonl")
        told = [(person.name, prompt) for person in people for prompt in person.heard]
        soak.ledger.tell("votes", work=self.name, exported=len(votes), told=len(told))
        for what in vote_faults(votes, told):
            soak.fault(self.name, what)


def make_world(soak: Soak, seed: int, here: Path) -> None:
    """The model and the data of a seed."""
    world = soak.out / f"seed-{seed}" / "world"
    if world.exists():
        shutil.rmtree(world)
    world.mkdir(parents=True)
    command = [sys.executable, str(here / "soak_world.py"), str(world / "model"), str(seed)]
    soak.end(f"world-{seed}", "made", soak.start(f"world-{seed}", "made", command, world))
