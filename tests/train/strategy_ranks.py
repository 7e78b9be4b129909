"""A tiny language model trained in many ways, alone or under torchrun; rank 0 writes what came out.

    python strategy_ranks.py MODEL_FOLDER OUT (ddp | fsdp2) CASE… [--half FOLDER]

All in float64, so that what differs is the order of sums and nothing else.
"""

import json
import random
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from luce.data.pack import pack
from luce.models.load import LoraSettings
from luce.models.policy import load_policy
from luce.models.reference import compute_reference, open_reference
from luce.models.reward import load_reward_model
from luce.objectives.build import make_objective
from luce.train.distributed import World, join_world, leave_world, together
from luce.train.learners import PolicyLearner, RewardLearner
from luce.train.settings import TrainSettings
from luce.train.sharded import ShardedLearner
from luce.train.trainer import Trainer
from luce.types import Branch, Group, Place


@dataclass(frozen=True)
class Case:
    """A row of the table.

    Attributes:
        objective, parameters: what a group costs.
        responses: to a prompt.
        lora, checkpointing: an adapter; activations made again in the backward pass.
        reward: a reward model instead of a policy.
        live: the reference is a network that is asked in the step, not a cache.
        words: the row's name.
    """

    words: str
    objective: str
    responses: int = 2
    lora: bool = False
    checkpointing: bool = False
    reward: bool = False
    live: bool = False


CASES = {
    "pairs": Case("pairs (dpo)", "dpo"),
    "unpaired": Case("unpaired, running KL (kto)", "kto"),
    "lists": Case("lists (plackett_luce)", "plackett_luce", responses=4),
    "batch": Case("cost of the whole batch (aot)", "aot"),
    "batch_dro": Case("cost of the whole batch (dr_dpo)", "dr_dpo"),
    "demonstrations": Case("demonstrations (sft)", "sft", responses=1),
    "lora": Case("pairs, LoRA", "dpo", lora=True),
    "lora_live": Case("pairs, LoRA, live reference", "dpo", lora=True, live=True),
    "kl_live": Case("pairs, KL at every token, live reference (tdpo2)", "tdpo2", live=True),
    "checkpointing": Case("pairs, gradient checkpointing", "dpo", checkpointing=True),
    "lora_checkpointing": Case(
        "pairs, LoRA, gradient checkpointing", "dpo", lora=True, checkpointing=True
    ),
    "batch_checkpointing": Case(
        "cost of the whole batch, LoRA, gradient checkpointing", "aot", lora=True,
        checkpointing=True,
    ),
    "reward": Case("reward model (bradley_terry)", "bradley_terry", reward=True),
    "reward_lora": Case("reward model, LoRA", "bradley_terry", reward=True, lora=True),
}  # fmt: skip

BUDGETS = {1: 4000, 2: 60, 3: 90}
"""Tokens of a micro-batch by ranks: the cut differs, too."""

ROWS, STEPS_OF_5 = 17, 31 / 17
"""Seven steps of up to five rows; of the last step's single row other ranks have nothing."""


def rows(n: int, responses: int, seed: int = 0) -> list[Group]:
    """Groups of very uneven lengths over the tiny tokenizer's ids."""
    draw = random.Random(seed)

    def ids(low: int, high: int) -> np.ndarray:
        return np.array([draw.randint(3, 299) for _ in range(draw.randint(low, high))], np.int32)

    groups = []
    for i in range(n):
        answers = [ids(1, 40 if i % 5 == 0 else 8) for _ in range(responses)]
        branches = tuple(Branch(a, np.ones(len(a), dtype=bool)) for a in answers)
        scores = tuple(float((3 * i + 2 * k) % 4) for k in range(responses if responses > 2 else 0))
        label = float(i % 3 != 0) if responses == 2 else 1.0
        group = Group(ids(1, 12), branches, f"g{i}", Place("toy.jsonl", i + 1), label=label)
        groups.append(replace(group, scores=scores))
    return groups


def build(folder: Path, case: Case, world: World, strategy: str) -> Trainer:
    """A trainer of the case with dropout off, in float64."""
    objective = make_objective(case.objective, {})
    groups = rows(ROWS, case.responses)
    options = {
        "dtype": "float32",
        "lora": LoraSettings(r=4, alpha=8.0) if case.lora else None,
        "gradient_checkpointing": case.checkpointing,
        "device": "cpu",
    }
    if case.reward:
        model = load_reward_model(str(folder), **options)
        model.module.double()
        learner = RewardLearner(model)
    else:
        model = load_policy(str(folder), **options)
        model.module.double()
        reference = open_reference("initial", model)
        cache = online = None
        if "reference" in objective.needs and case.live and case.lora:
            online = reference.resident()
        elif "reference" in objective.needs:
            place = folder.parent / f"cache-{case.responses}-{case.lora}-{case.live}"
            if not world.first:
                world.barrier()
            cache = compute_reference(reference, groups, pack, place)
            if world.first:
                world.barrier()
        resident = reference.resident() if "kl" in objective.needs else None
        learner = PolicyLearner(model, cache, None, objective.needs, resident, online)
    if strategy == "fsdp2" and world.size > 1:
        world = replace(world, lockstep=True)
        learner = ShardedLearner(learner, model, world)
    settings = TrainSettings(
        learning_rate=0.01,
        batch_size=5,
        epochs=STEPS_OF_5,
        seed=1,
        weight_decay=0.01,
        adam_epsilon=1e-6,  # where a gradient is but rounding, 1e-8 would make a step of it
        max_grad_norm=0.5,  # below most norms: they are clipped
        max_tokens_per_batch=BUDGETS[world.size],
    )
    return Trainer(learner, objective, groups, settings, world)


def train(folder: Path, case: Case, world: World, strategy: str, half: Path | None) -> dict:
    """Records and, on rank 0, weights; from the checkpoint `half` where it is there, and otherwise
    with that checkpoint written after the third step."""
    trainer = build(folder, case, world, strategy)
    records = [trainer.evaluate(trainer.groups)]
    if half is not None and half.exists():
        values = json.loads(half.with_suffix(".json").read_text())
        trainer.restore(load_file(half), values)
        records = []
    for record in trainer.steps():
        records.append(record)
        if half is not None and trainer.step == 3:
            tensors, values = trainer.state()
            if world.first:
                save_file({k: v.contiguous() for k, v in tensors.items()}, half)
                half.with_suffix(".json").write_text(json.dumps(values))
            world.barrier()
    records.append(trainer.evaluate(trainer.groups))
    tensors, _ = trainer.state()
    weights = {k: v for k, v in tensors.items() if k.startswith("weights.")}
    return {"records": records, "weights": weights}


def main(folder: Path, out: Path, strategy: str, names: list[str], half: Path | None) -> None:
    """Every case in turn; weights of all go to OUT.safetensors, records to OUT, and checkpoints to
    `half`, or out of it."""
    torch.set_num_threads(1)
    world = join_world()
    records, weights = {}, {}
    with together(world):
        for name in names:
            saved = half and half / f"{name}.safetensors"
            found = train(folder, CASES[name], world, strategy, saved)
            records[name] = found["records"]
            weights |= {f"{name}:{k}": v.contiguous() for k, v in found["weights"].items()}
    if world.first:
        out.write_text(json.dumps(records))
        save_file(weights, out.with_suffix(".safetensors"))
    leave_world(world)


if __name__ == "__main__":
    given = sys.argv[1:]
    place = None
    if "--half" in given:
        at = given.index("--half")
        place = Path(given[at + 1])
        given = given[:at] + given[at + 2 :]
    main(Path(given[0]), Path(given[1]), given[2], given[3:], place)
