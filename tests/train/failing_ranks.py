"""The toy model under torchrun; one rank stops at an error, or is killed.

    python failing_ranks.py (tell | bug | die | alone | overflow) RANK

`tell` is a LuceError in the third step, `bug` an error of the program, `die` is SIGKILL, and
`alone` a LuceError before the first step. Under `overflow` the gradient of row g4 is infinite,
whichever rank takes it.
"""

import importlib.util
import math
import os
import signal
import sys
from pathlib import Path

import torch

from luce.errors import LuceError
from luce.objectives.build import make_objective
from luce.train.distributed import join_world, leave_world, together
from luce.train.settings import TrainSettings
from luce.train.trainer import Trainer

spec = importlib.util.spec_from_file_location("toy", Path(__file__).with_name("conftest.py"))
toy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toy)


class Failing(toy.TableLearner):
    """Fails in the third step."""

    kind = ""

    def respond(self, groups):
        if self.calls == 2:
            if self.kind == "tell":
                raise LuceError("toy.jsonl:7: a row that only this rank has seen. Mend it.")
            if self.kind == "bug":
                raise KeyError("a bug")
            if self.kind == "die":
                os.kill(os.getpid(), signal.SIGKILL)
        found = super().respond(groups)
        if self.kind == "overflow" and found.policy.requires_grad:
            of = [group.id == "g4" for group in groups for _ in group.branches]
            spoilt = torch.tensor(of).repeat_interleave(found.lengths)
            found.policy.register_hook(lambda g: torch.where(spoilt, math.inf * g.abs(), g))
        return found


def main(kind: str, rank: int) -> None:
    world = join_world()
    learner = Failing()
    learner.kind = kind if world.rank == rank or kind == "overflow" else ""
    groups = toy.make_groups(23)
    try:
        with together(world):
            if learner.kind == "alone":
                raise LuceError("a folder that only this rank cannot read. Mend it.")
            settings = TrainSettings(learning_rate=0.05, batch_size=4, epochs=3.0)
            trainer = Trainer(learner, make_objective("dpo", {}), groups, settings, world)
            for _ in trainer.steps():
                pass
    except LuceError as error:
        print(f"rank {world.rank} said: {error}", file=sys.stderr, flush=True)
        sys.exit(2)
    leave_world(world)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
