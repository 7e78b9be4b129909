"""The loop with a run folder around it: metrics and rounds on disk, checkpoints, exact resume.

`metrics.jsonl` and `rounds.jsonl` hold no times, so a resumed run writes the same bytes as an
uninterrupted one; times go to `timing.jsonl`.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from luce.files import write_jsonl
from luce.online.rl.trainer import RLTrainer
from luce.train.checkpoint import save_checkpoint
from luce.train.fit import resumable
from luce.train.lines import (
    RunFolder,
    append,
    keep_lines,
    sigterm_noted,
    timing_of,
    whole_lines,
)
from luce.train.loop import Watcher, end_step, steps_of, take_up


def rl_fit(
    trainer: RLTrainer,
    folder: RunFolder,
    identity: Mapping[str, Any],
    resume: bool = False,
    allow_change: Sequence[str] = (),
    watcher: Watcher | None = None,
) -> Iterator[dict[str, Any]]:
    """Train to the end; yield every record as it is written: of split `train`, `samples` and
    `round`, and notes.

    Args:
        identity: what must not change between a run and its resumption; kept in checkpoints.
        resume: go on from the newest good checkpoint, if there is one.
        allow_change: keys of `identity` that may differ on resume.
        watcher: looks at the policy in training; its records are written as well.

    Raises:
        CheckpointError: nothing good to resume from, or the run has changed.
        NonFiniteStep: see `RLTrainer.steps`; the prompts are in `nonfinite.jsonl`.
        SystemExit: 143 after a SIGTERM, with the checkpoint of the last step saved.
    """
    if resume:
        yield from take_up(trainer, *resumable(folder, identity, allow_change))
    ledger = folder.path / "rounds.jsonl"
    keep_lines(folder, trainer.step, fresh=trainer.step == 0)
    if ledger.exists():  # a round whose first step is still to come is written again
        write_jsonl(ledger, [r for r in whole_lines(ledger) if r["step"] < trainer.step])
    started = time.perf_counter()
    with (
        sigterm_noted() as stop,
        append(folder.metrics, True) as write,
        append(folder.timing, True) as tell,
        append(ledger, True) as note_round,
    ):
        for record in steps_of(trainer, folder):
            if record["split"] == "round":
                yield note_round(record)
                continue
            yield write(record)
            tell(timing_of(record, time.perf_counter() - started))
            yield from end_step(
                trainer, watcher, stop, write, lambda: _save(trainer, folder, identity)
            )
            started = time.perf_counter()


def _save(trainer: RLTrainer, folder: RunFolder, identity: Mapping[str, Any]) -> None:
    """A checkpoint; then the blocks of rounds that the oldest one is past are let go."""
    tensors, values = trainer.state()
    keep = trainer.settings.save_total_limit
    save_checkpoint(folder.checkpoints, trainer.step, tensors, values, identity, keep)
    kept = [int(path.name.removeprefix("step-")) for path in folder.checkpoints.glob("step-*")]
    trainer.rounds.forget(before=min(kept) // trainer.steps_per_round + 1)
