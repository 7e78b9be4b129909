"""One workload: once undisturbed, then killed at random instants and resumed until it ends; what is
left must be the same."""

import json
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from soak_checks import (
    differences,
    kept_steps,
    row_faults,
    sample_faults,
    step_faults,
    unlike_lines,
    vote_faults,
)
from soak_processes import (
    Ledger,
    Process,
    Silent,
    Watch,
    facts_of,
    fair,
    last_step,
    progress,
    run_until,
)
from soak_votes import Person, serve, votes_of
from soak_work import ROWS, WORK, Work, lines, luce, recipe_of

PEOPLE = ("anna", "ben")
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGINT)
"""In turn."""
SAMPLES = 3


@dataclass
class Soak:
    """What the workloads of a soak share.

    Attributes:
        out: its folder.
        draw: when to kill.
        kills: so many there were: the next signal follows from it.
    """

    out: Path
    ledger: Ledger
    watch: Watch
    draw: random.Random
    kills: int = 0
    calm: dict[str, tuple[int, float]] = field(default_factory=dict)

    def start(self, work: str, role: str, command: list[str], folder: Path,
              out: Path | None = None) -> Process:  # fmt: skip
        process = Process(command, folder, out)
        self.watch.add(process, f"{work}/{role}")
        self.ledger.tell("start", work=work, role=role, pid=process.pid)
        return process

    def end(self, work: str, role: str, process: Process, killed: str | None = None) -> int:
        """Wait for a process, and put into the ledger how it ended."""
        code = process.wait(7200)
        self.ledger.tell("end", work=work, role=role, **facts_of(process))
        if not fair(code, killed):
            said = process.log.read_text(errors="replace")[-1500:]
            self.fault(work, f"{role} ended with {code}: {said}")
        return code

    def fault(self, work: str, what: str) -> None:
        self.ledger.tell("fault", work=work, what=what)

    def next_signal(self) -> int:
        self.kills += 1
        return SIGNALS[(self.kills - 1) % len(SIGNALS)]


def commands(work: Work, folder: Path) -> tuple[list[str], list[str], Path | None]:
    """How to start, how to go on, and the file for what is printed."""
    if work.command == "sample":
        world = folder.parents[1] / "world"
        arguments = ["--prompts", str(world / "pairs.jsonl"), "--n", str(SAMPLES), "--json"]
        command = luce("sample", str(world / "model"), *arguments, "--max-new-tokens", "24")
        return command, command, folder / "run" / "samples.json"
    start = luce(work.command, "recipe.yaml")
    return start, [*start, "--resume"], None


def prepare(soak: Soak, work: Work, seed: int, folder: Path) -> None:
    """An empty folder with the recipe in it."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "run").mkdir(parents=True)
    if work.command in ("train", "online"):
        (folder / "run").rmdir()
        judge = soak.out / f"seed-{seed}" / "reward" / "calm" / "run" / "model"
        world = soak.out / f"seed-{seed}" / "world"
        recipe = recipe_of(work, world, seed, judge)
        (folder / "recipe.yaml").write_text(json.dumps(recipe))


def one(soak: Soak, work: Work, seed: int, cycle: int, most: int = 4) -> None:
    """The workload with up to `most` kills, compared with the undisturbed one."""
    base = soak.out / f"seed-{seed}" / work.name
    calm, name = base / "calm", f"{work.name}-{seed}"
    runner = voted if work.command == "annotate" else ran
    if name not in soak.calm:
        prepare(soak, work, seed, calm)
        soak.calm[name] = runner(soak, work, seed, calm, f"calm {cycle}", None)
    folder = base / f"cycle-{cycle}"
    prepare(soak, work, seed, folder)
    runner(soak, work, seed, folder, f"cycle {cycle}", (soak.calm[name], most))
    check = check_votes if work.command == "annotate" else check_run
    wrong = check(soak, work, seed, folder, calm)
    for what in wrong:
        soak.fault(name, f"cycle {cycle}: {what}")
    soak.ledger.tell("checked", work=name, cycle=cycle, faults=len(wrong))
    if not wrong:
        shutil.rmtree(folder)


Plan = tuple[tuple[int, float], int] | None
"""What the undisturbed run made and took (progress, processor seconds), and how many kills."""


def ran(
    soak: Soak, work: Work, seed: int, folder: Path, role: str, plan: Plan
) -> tuple[int, float]:
    """Carry out a run to its end; its progress and the processor seconds of its last process."""
    name, run = f"{work.name}-{seed}", folder / "run"
    start, again, out = commands(work, folder)
    command = start
    (whole, cpu_s), kills = plan or ((0, 0.0), 0)
    for k in range(kills):
        process = soak.start(name, f"{role}.{k}", command, folder, out)
        ready = instant(soak, process, run, whole, cpu_s, kills - k)
        number = soak.next_signal()
        found = run_until(process, ready, number)
        if found is None:
            soak.ledger.tell("outlived", work=name, role=f"{role}.{k}")
            if soak.end(name, f"{role}.{k}", process) == 0:
                return progress(run), process.cpu_s()
        else:
            facts = found | {"files": progress(run), "step": last_step(folder)}
            soak.ledger.tell("kill", work=name, role=f"{role}.{k}", **facts)
            if soak.end(name, f"{role}.{k}", process, found["signal"]) == 0:
                return progress(run), 0.0
        soak.ledger.tell("resume", work=name, role=f"{role}.{k + 1}", step=last_step(folder))
        command = again
    process = soak.start(name, f"{role}.{kills}", command, folder, out)
    spent = 0.0
    while process.poll() is None:
        spent = max(spent, process.cpu_s())
        time.sleep(0.05)
    soak.end(name, f"{role}.{kills}", process)
    return progress(run), spent


def instant(
    soak: Soak, process: Process, run: Path, whole: int, cpu_s: float, left: int
) -> Callable[[], bool]:
    """When to kill, with `left` kills to come. More than half of the time once it has made a share
    of what is missing of the undisturbed run's files and steps; else at some processor second of
    that run, so also while it loads and reports."""
    at = progress(run)
    if soak.draw.random() < 0.6 and at < whole:
        goal = soak.draw.randint(at + 1, at + max(1, round(1.5 * (whole - at) / (left + 0.5))))
        return lambda: progress(run) >= goal
    second = soak.draw.uniform(0.02, 1.0) * cpu_s
    return lambda: process.cpu_s() >= second


def check_run(soak: Soak, work: Work, seed: int, folder: Path, calm: Path) -> list[str]:
    """Every file as in the undisturbed run; every step and row as often as it should be."""
    name, run, world = f"{work.name}-{seed}", folder / "run", soak.out / f"seed-{seed}" / "world"
    wrong = differences(run, calm / "run")
    if work.command == "sample":
        rows = json.loads((run / "samples.json").read_text())
        soak.ledger.tell("samples", work=name, prompts=ROWS, rows=len(rows))
        return wrong + sample_faults(rows, [r["prompt"] for r in lines(world / work.data)], SAMPLES)
    trainings: dict[str, list[dict[str, Any]]] = {}
    for line in lines(folder / "rows-noted.jsonl"):
        trainings.setdefault(line["rows"][0][0], []).append(line)
    rounds = sorted((run / "rounds").glob("[0-9][0-9][0-9]/train"))
    for training in rounds or [run]:
        manifest = json.loads((training / "manifest.json").read_text())
        metrics, steps = list(lines(training / "metrics.jsonl")), manifest["steps"]
        wrong += step_faults(metrics, steps)
        if "rloo" in work.name:  # its rows are samples, which the folder of each round holds
            soak.ledger.tell("steps", work=name, steps=steps)
            continue
        rel = training.parent.relative_to(folder)
        source = str(rel / "train.jsonl") if rounds else str(world / work.data)
        count = sum(1 for _ in lines(folder / source if rounds else Path(source)))
        dropped = [r["line"] for r in lines(training / "rows.jsonl") if r["action"] == "dropped"]
        held = [row["line"] for row in lines(training / "held_out.jsonl")]
        noted = trainings.pop(source, [])
        kept, changed = kept_steps(noted)
        epochs = 2 if work.command == "online" else 4
        wrong += changed + row_faults(kept, count, [*dropped, *held], epochs, steps)
        for step in sorted(kept):
            done = sum(line["step"] == step for line in noted)
            soak.ledger.tell("step", work=name, of=source, step=step, done=done,
                             rows=[line for _, line in kept[step]])  # fmt: skip
    for number in range(1, len(rounds) + 1):
        stage = run / "rounds" / f"{number:03d}"
        asked = [row["prompt"] for row in lines(stage / "samples.jsonl")]
        judged = sum(1 for _ in lines(stage / "verdicts.jsonl"))
        soak.ledger.tell("round", work=name, round=number, prompts=len(asked), judged=judged)
        if len(set(map(json.dumps, asked))) != len(asked) or judged != len(asked):
            wrong.append(f"round {number}: {len(asked)} prompts, {judged} judged, or some twice")
    if "rloo" not in work.name:
        wrong += [
            f"rows of {source} were trained on and belong to no round" for source in trainings
        ]
    return wrong


def voted(
    soak: Soak, work: Work, seed: int, folder: Path, role: str, plan: Plan
) -> tuple[int, float]:
    """People judge all tasks while the server is killed and started again; then an export."""
    name, world = f"{work.name}-{seed}", soak.out / f"seed-{seed}" / "world"
    kills = 0 if plan is None else plan[1]
    total = len(PEOPLE) * ROWS

    def begin(k: int, port: int) -> tuple[Process, int]:
        process, port = serve(folder, world / "tasks.jsonl", port, luce())
        soak.watch.add(process, f"{name}/{role}.{k}")
        soak.ledger.tell("start", work=name, role=f"{role}.{k}", pid=process.pid)
        return process, port

    process, port = begin(0, 0)
    people = [Person(port, each, soak.ledger, name) for each in PEOPLE]
    for person in people:
        person.start()

    def heard() -> int:
        return sum(len(person.heard) for person in people)

    for k in range(kills):
        share = 1.5 * (total - heard()) / (kills - k + 0.5)
        goal = min(total - 1, heard() + soak.draw.randint(1, max(1, round(share))))
        number = soak.next_signal()
        found = run_until(process, lambda goal=goal: heard() >= goal, number)
        assert found is not None, process.log
        facts = found | {"votes": heard()}
        soak.ledger.tell("kill", work=name, role=f"{role}.{k}", **facts)
        code = process.wait()
        soak.ledger.tell("end", work=name, role=f"{role}.{k}", **facts_of(process))
        if not fair(code, found["signal"]):
            soak.fault(name, f"{role}.{k}: the server ended with {code}")
        soak.ledger.tell("resume", work=name, role=f"{role}.{k + 1}", votes=heard())
        process, _ = begin(k + 1, port)
    for person in people:
        person.join(3600)
        if person.failed is not None or person.is_alive():
            soak.fault(name, f"{person.name} did not come to an end: {person.failed!r}")
    cpu_s = process.cpu_s()
    process.signal(signal.SIGINT)
    soak.end(name, f"{role}.{kills}", process)
    for to in ("votes", "pairs"):
        command = luce(
            "annotate", "export", "annotations.sqlite", "--to", to, "--out", f"run/{to}.jsonl"
        )
        soak.end(name, f"{role}.{to}", soak.start(name, f"{role}.{to}", command, folder))
    told = [{"annotator": p.name, "prompt": each} for p in people for each in p.heard]
    (folder / "run" / "told.jsonl").write_text("".join(json.dumps(x) + "\n" for x in told))
    return total, cpu_s


def check_votes(soak: Soak, work: Work, seed: int, folder: Path, calm: Path) -> list[str]:
    """Every vote once, and the exports of the undisturbed server."""
    run, other = folder / "run", calm / "run"
    votes = votes_of(run / "votes.jsonl")
    told = [(row["annotator"], row["prompt"]) for row in lines(run / "told.jsonl")]
    soak.ledger.tell("votes", work=f"{work.name}-{seed}", exported=len(votes), told=len(told))
    wrong = vote_faults(votes, told, len(PEOPLE) * ROWS)
    for name in ("votes", "pairs"):
        file = f"{name}.jsonl"
        wrong += unlike_lines(lines(run / file), lines(other / file))
    return wrong


def again(out: Path) -> int:
    """Check what the faulty cycles of a soak left, with the checks as they are now; their results
    go into the ledger. Returns how many faults there are."""
    ledger, count = Ledger(out / "ledger.jsonl"), 0
    soak = Soak(out, ledger, Watch(out / "memory.jsonl", ledger), random.Random(0))
    for event in list(lines(out / "ledger.jsonl")):
        if event["event"] != "checked" or not event["faults"]:
            continue
        (name, _, seed), cycle = event["work"].rpartition("-"), event["cycle"]
        work = next(work for work in WORK if work.name == name)
        folder = out / f"seed-{seed}" / name / f"cycle-{cycle}"
        check = check_votes if work.command == "annotate" else check_run
        silent = replace(soak, ledger=Silent())
        wrong = check(silent, work, int(seed), folder, folder.parent / "calm")
        ledger.tell("again", work=event["work"], cycle=cycle, faults=wrong)
        count += len(wrong)
    return count
