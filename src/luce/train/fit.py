"""The loop with a run folder around it: metrics on disk, evaluations, checkpoints, exact resume.

`metrics.jsonl` holds no times, so a resumed run writes the same bytes as an uninterrupted one;
times go to `timing.jsonl`. Within a step the order is: train, evaluate if due, sample if due,
checkpoint if due. A resume keeps the lines up to the checkpoint's step and writes the rest again.
"""

import fcntl
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from luce.errors import CheckpointError, LuceError
from luce.files import remove_leftovers
from luce.train.checkpoint import Checkpoint, latest_checkpoint, save_checkpoint
from luce.train.lines import RunFolder, append, keep_lines, sigterm_noted, timing_of
from luce.train.loop import Watcher, end_step, steps_of, take_up
from luce.train.trainer import Trainer
from luce.types import Group


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run folder for this process; the lock goes with the process, however it ends. What a
    process that was killed left half-written in it goes: it may be as large as the model.

    Raises:
        LuceError: another process holds it, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = open(folder / ".lock", "w")  # noqa: SIM115 - held for the length of the run
    except OSError as error:
        raise LuceError(
            f"{folder}: cannot be written ({error}). Set another output_dir."
        ) from error
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        stream.close()
        raise LuceError(
            f"{folder}: another process is using this folder. Wait for it, or set another "
            "output_dir."
        ) from error
    try:
        remove_leftovers(folder)
        for left in folder.glob(".*.partial*"):
            if left.is_dir():  # a model; nobody else writes one here
                shutil.rmtree(left)
        yield
    finally:
        stream.close()


def fit(
    trainer: Trainer,
    folder: RunFolder,
    held_out: Sequence[Group],
    identity: Mapping[str, Any],
    resume: bool = False,
    allow_change: Sequence[str] = (),
    watcher: Watcher | None = None,
    start: Sequence[tuple[float, float]] | None = None,
) -> Iterator[dict[str, Any]]:
    """Train to the end; yield every record as it is written.

    Args:
        held_out: groups evaluated at the start, every `eval_steps`, and at the end.
        identity: what must not change between a run and its resumption; kept in checkpoints.
        resume: go on from the newest good checkpoint, if there is one.
        allow_change: keys of `identity` that may differ on resume.
        watcher: looks at the policy in training; its records are written as well.
        start: log-probabilities of the held-out pairs before training, for `Trainer.evaluate`.

    Raises:
        CheckpointError: nothing good to resume from, or the run has changed.
        NonFiniteStep: see `Trainer.steps`; the rows are in `nonfinite.jsonl`.
        SystemExit: 143 after a SIGTERM, with the checkpoint of the last step saved.
    """
    if resume:
        yield from take_up(trainer, *resumable(folder, identity, allow_change))
    world, settings = trainer.world, trainer.settings
    if world.first:
        keep_lines(folder, trainer.step, fresh=trainer.step == 0)
    started = time.perf_counter()
    with (
        sigterm_noted() as stop,
        append(folder.metrics, world.first) as write,
        append(folder.timing, world.first) as tell,
    ):
        if trainer.step == 0 and held_out:
            yield write(trainer.evaluate(held_out, start))
        for record in steps_of(trainer, folder):
            yield write(record)
            seconds = time.perf_counter() - started
            tell(timing_of(record, seconds))
            step, last = trainer.step, trainer.step == trainer.total_steps
            due = settings.eval_steps is not None and step % settings.eval_steps == 0
            if held_out and (due or last):
                yield write(trainer.evaluate(held_out, start))
            yield from end_step(
                trainer, watcher, stop, write, lambda: _save(trainer, folder, identity)
            )
            started = time.perf_counter()


def _save(trainer: Trainer, folder: RunFolder, identity: Mapping[str, Any]) -> None:
    tensors, values = trainer.state()
    if trainer.world.first:
        keep = trainer.settings.save_total_limit
        save_checkpoint(folder.checkpoints, trainer.step, tensors, values, identity, keep)
    trainer.world.barrier()


def resumable(
    folder: RunFolder, identity: Mapping[str, Any], allow_change: Sequence[str] = ()
) -> tuple[Checkpoint | None, list[str]]:
    """The newest good checkpoint of this very run, and a line for each newer, damaged one.

    Raises:
        CheckpointError: the checkpoint is of a run with another identity, or all are damaged.
    """
    checkpoint, damaged = latest_checkpoint(folder.checkpoints)
    if checkpoint is not None:
        changes = changed(checkpoint.identity, identity)
        refused = [text for key, text in changes.items() if key not in allow_change]
        if refused:
            raise CheckpointError(
                f"{checkpoint.path}: this run has changed since: {'; '.join(refused)}. Change it "
                "back, name the key with --allow-change, or set another output_dir."
            )
    return checkpoint, damaged


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """Keys whose values differ, each with `key: old → new`.

    >>> changed({"train.seed": 0}, {"train.seed": 1})
    {'train.seed': 'train.seed: 0 → 1'}
    """
    keys = sorted(old.keys() | new.keys())
    return {k: f"{k}: {old.get(k)} → {new.get(k)}" for k in keys if old.get(k) != new.get(k)}
