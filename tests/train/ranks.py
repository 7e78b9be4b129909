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


CASES = {"dpo": 2, "kto": 2, "sft": 1}


def train(world: World, objective: str, responses: int) -> dict:
    settings = TrainSettings(learning_rate=0.05, batch_size=5, epochs=2.0, seed=1)
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
