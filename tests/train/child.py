"""A run of the toy model in a process of its own, which kills itself where it is told.

    python child.py FOLDER [step:N | operation:N | never:0] [OBJECTIVE]

`step:N` is SIGKILL after N records; `operation:N` before the Nth file operation of the checkpoints.
"""

import importlib.util
import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

from luce.objectives.build import make_objective
from luce.train import checkpoint
from luce.train.fit import fit, locked
from luce.train.lines import RunFolder
from luce.train.settings import TrainSettings
from luce.train.trainer import Trainer

spec = importlib.util.spec_from_file_location("toy", Path(__file__).with_name("conftest.py"))
toy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toy)

SETTINGS = TrainSettings(
    learning_rate=0.05, batch_size=4, epochs=2.0, save_steps=2, save_total_limit=1, eval_steps=3
)


def main(folder: Path, kill: str | None, objective: str = "dpo") -> None:
    kind, _, number = (kill or "never:0").partition(":")
    if kind == "operation":
        _kill_before_operation(int(number))
    groups = toy.make_groups(23)
    cost = make_objective(objective, {})
    # a cost of the whole batch is cut into micro-batches, so that it takes its two passes
    settings = replace(SETTINGS, max_tokens_per_batch=20 if cost.scope == "batch" else 8192)
    trainer = Trainer(toy.TableLearner(), cost, groups[:18], settings)
    with locked(folder):
        records = fit(trainer, RunFolder(folder), groups[18:], {"seed": 0}, resume=True)
        for count, _ in enumerate(records, start=1):
            if kind == "step" and count == int(number):
                os.kill(os.getpid(), signal.SIGKILL)


def _kill_before_operation(number: int) -> None:
    done = {"count": 0}

    def counted(function):
        def call(*args, **kwargs):
            done["count"] += 1
            if done["count"] == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    for name in ("save_file", "write_json", "fsync_folder", "_fsync", "sha256_file"):
        setattr(checkpoint, name, counted(getattr(checkpoint, name)))
    Path.rename = counted(Path.rename)
    shutil.rmtree = counted(shutil.rmtree)


if __name__ == "__main__":
    given = globals().get("ARGUMENTS", sys.argv[1:])
    main(Path(given[0]), *(given[1:] or [None]))
