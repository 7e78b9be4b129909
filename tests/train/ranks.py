"""The toy model trained under torchrun; rank 0 writes what came out."""

import importlib.util
import json
import sys
from pathlib import Path

import torch

from luce.objectives.build import make_objective
from luce.train.distributed import World, join_world, leave_world
from luce.train.settings import TrainSettings
from luce.train.trainer import Trainer

spec = importlib.util.spec_from_file_location("toy", Path(__file__).with_name("conftest.py"))
toy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toy)


CASES = {"dpo": 2, "kto": 2, "sft": 1, "plackett_luce": 4, "sampo": 2}
CASES |= {"aot": 2, "aot_unpaired": 2, "dr_dpo": 2, "beta_dpo": 2, "alpha_dpo": 2}
"""Objective: responses to a prompt."""

BUDGETS = {1: 12, 2: 30}
"""Tokens of a micro-batch by ranks: the cut differs, too."""


def train(world: World, objective: str, responses: int) -> dict:
    settings = TrainSettings(
        learning_rate=0.05,
        batch_size=5,
        epochs=31 / 17,  # of the last step's single row one rank has nothing
        seed=1,
        max_tokens_per_batch=BUDGETS[world.size],
    )
    learner = toy.TableLearner(torch.float64)
    groups = toy.make_groups(17, responses)
    trainer = Trainer(learner, make_objective(objective, {}), groups, settings, world)
    records = [trainer.evaluate(groups), *trainer.steps(), trainer.evaluate(groups)]
    return {"table": learner.table.tolist(), "records": records}


def main(out: Path) -> None:
    world = join_world()
    results = {name: train(world, name, responses) for name, responses in CASES.items()}
    if world.first:
        out.write_text(json.dumps(results))
    leave_world(world)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
