"""The command `luce online`: lead a run, help one, or say what one would do."""

import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from luce.errors import LuceError
from luce.recipe.deterministic import deterministic
from luce.recipe.load import Resolved, load_recipe
from luce.recipe.online import online_run
from luce.recipe.online_ledger import ledger, status
from luce.recipe.online_loop import Loop, check_online, open_loop
from luce.recipe.online_stages import Stage, judge_block, sample_block
from luce.recipe.provenance import dump_resolved
from luce.recipe.schema import Online

PATIENCE = 1.0
"""Seconds between two looks of a worker that finds nothing to do."""


def online_command(
    recipe: str,
    overrides: Sequence[str],
    *,
    resume: bool = False,
    dry_run: bool = False,
    worker: bool = False,
    allow_change: Sequence[str] = (),
) -> None:
    """`luce online`; see `luce.recipe.online.online_run`.

    Raises:
        LuceError: whatever the user can mend.
    """
    resolved = load_recipe(recipe, overrides)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if dry_run:
        check_online(resolved)
        sys.stdout.write(dump_resolved(resolved))
        sys.stdout.flush()
        print(*arithmetic(resolved), sep="\n", file=sys.stderr)
    elif worker:
        with deterministic(resolved.recipe):
            help_run(resolved, console)
    else:
        online_run(resolved, resume=resume, allow_change=allow_change, console=console)


def arithmetic(resolved: Resolved) -> list[str]:
    """What the rounds ask for, in sentences; nothing is sampled."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        loop = open_loop(resolved, Path(folder), Console(quiet=True))
    online, prompts = loop.online, loop.prompts.of_round(1, loop.online.prompts_per_round)
    samples = len(prompts) * online.n
    most = samples * online.max_new_tokens
    longest = max(len(p.ids) for p in prompts)
    return [
        f"a round: {len(prompts):,} prompts × {online.n} = {samples:,} samples, at most {most:,} "
        f"new tokens; {-(-len(prompts) // online.block):,} blocks of {online.block} prompts",
        f"prompts: {len(loop.prompts):,} to train on, {len(loop.prompts.held_out):,} held out, the "
        f"longest of the round {longest:,} tokens",
        f"in all: {online.rounds} rounds, {samples * online.rounds:,} samples",
        *_by_whom(online),
    ]


def _by_whom(online: Online) -> list[str]:
    """Who does the work, where it is not this process alone."""
    said = []
    if online.engine.kind != "transformers":
        stale = "no stale ones" if online.engine.stale == "refuse" else "stale ones weighted"
        said.append(f"sampled by: {online.engine.kind} at {online.engine.base_url}, {stale}")
    if online.scale == "ray":
        ray = online.ray
        said.append(
            f"shared by: Ray, {ray.concurrency} actors of {ray.num_cpus:g} CPUs and "
            f"{ray.num_gpus:g} GPUs"
        )
    if online.train_command is not None:
        said.append(f"trained by: {online.train_command}")
    return said


def help_run(resolved: Resolved, console: Console, patience: float = PATIENCE) -> int:
    """Sample and judge blocks of a run that another process leads, until it is done; returns how
    many blocks this process did.

    Raises:
        LuceError: no such run has been started, or it is one of other prompts or weights.
    """
    check_online(resolved)
    folder = Path(resolved.recipe.output_dir)
    if not (folder / "manifest.json").exists():
        raise LuceError(f"{folder}: no run to help. Start it without --worker first.")
    online = resolved.recipe.online
    if online is not None and online.scale == "ray":
        raise LuceError(
            f"{folder}: Ray shares this run's work (`scale: ray`), and needs no helpers. Raise "
            "`online.ray.concurrency`, or leave `scale` out."
        )
    loop = open_loop(resolved, folder, console)
    rounds, done, stage = loop.online.rounds, 0, None
    while status(folder) != "finished":
        lines = ledger(folder)
        number = len(lines) + 1
        if number > rounds:
            break
        if stage is None or stage.number != number:
            loop.hashes |= {line["round"]: line["policy"]["hash"] for line in lines}
            stage = loop.stage(number)
        did = _free_blocks(stage, loop)
        done += did
        if not did:
            stage.release()
            time.sleep(patience)
    console.print(f"{folder}: finished; {done} blocks were done here")
    return done


def _free_blocks(stage: Stage, loop: Loop) -> int:
    """Do the blocks of the round's present stage that nobody else is at."""
    for name, make in (("samples", sample_block), ("verdicts", judge_block)):
        blocks = stage.blocks(name)
        if not blocks.whole.exists():
            told = partial(_tell, loop, stage.number, name)
            return blocks.work(partial(make, stage), wait=False, progress=told)
    return 0


def _tell(loop: Loop, number: int, name: str, done: int, whole: int) -> None:
    loop.console.print(f"round {number}: {name}: {done} of {whole} blocks")
