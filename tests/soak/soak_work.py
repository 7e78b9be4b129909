"""What the soak runs: data, recipes and command lines on tiny models."""

import json
import random
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
WORDS = "the cat sat on a mat and saw the dog run to its red house by the sea".split()
ROWS = 45
"""Of a data file: no multiple of a batch, so that batches reach over the end of an epoch."""


@dataclass(frozen=True)
class Work:
    """A workload.

    Attributes:
        name: in the ledger.
        command: of luce: train, online, sample or annotate.
        recipe: keys of the recipe that are this workload's own.
        data: the file of rows in the world's folder.
    """

    name: str
    command: str
    recipe: Mapping[str, Any] = field(default_factory=dict)
    data: str = "pairs.jsonl"


LORA = {"lora": {"r": 4, "alpha": 8.0, "dropout": 0.1}}
ROUNDS = {"rounds": 3, "n": 3, "prompts_per_round": 12, "max_new_tokens": 12, "block": 4}

RL = {"epochs": 1.0, "eval_steps": None}
"""Samples are of the policy that they train: one pass; and no pairs are held out."""


def trained(name: str, objective: Any, data: str = "pairs.jsonl", **more: Any) -> Work:
    return Work(name, "train", {"objective": objective} | more, data)


WORK = (
    trained("reward", "bradley_terry", model={"kind": "reward"}),
    trained("dpo", {"dpo": {"beta": 0.5}}, evaluate={"sample_prompts": 4, "sample_steps": 13}),
    Work("online", "online", {"objective": {"dpo": {"beta": 0.5}}, "online": ROUNDS}),
    Work("annotate", "annotate"),
    trained("kto", {"kto": {"beta": 0.3}}, "feedback.jsonl"),
    Work("sample", "sample"),
    trained("dpo-lora", {"dpo": {"beta": 0.5}}, model=LORA),
    Work("rloo", "online", {"objective": {"rloo": {"beta": 0.05}}, "online": ROUNDS, "train": RL}),
    trained("simpo", {"simpo": {"beta": 2.0}}),
    trained("orpo", {"orpo": {"lam": 0.5}}),
)
"""A cycle, in this order: the reward model of the first judges the online rounds."""


def write_data(folder: Path, seed: int) -> None:
    """Ragged rows: one is too long and is dropped, every prompt is another one."""
    draw = random.Random(seed)

    def text(most: int) -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(1, most)))

    pairs = [
        {"prompt": f"say {i} {text(12)}", "chosen": f"{text(16)} thanks", "rejected": text(20)}
        for i in range(ROWS)
    ]
    pairs[7]["chosen"] = "the sea " * 100
    feedback = [
        {"prompt": row["prompt"], "completion": row[side], "label": side == "chosen"}
        for i, row in enumerate(pairs)
        for side in [("chosen", "rejected")[i % 2]]
    ]
    for name, rows in (("pairs", pairs), ("feedback", feedback)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_tasks(folder / "tasks.jsonl", ROWS, seed)


def write_tasks(path: Path, n: int, seed: int = 0) -> None:
    """Tasks for people: of two responses one ends politely."""
    draw = random.Random(seed)
    with open(path, "w") as stream:
        for i in range(n):
            words = [" ".join(draw.choices(WORDS, k=draw.randint(1, 20))) for _ in range(3)]
            row = {"id": f"t{i}", "prompt": f"say {i} {words[0]}",
                   "responses": [f"{words[1]} thanks", words[2]]}  # fmt: skip
            stream.write(json.dumps(row) + "\n")


def recipe_of(work: Work, world: Path, seed: int, judge: Path | None = None) -> dict[str, Any]:
    """The recipe of a workload; its output goes to `run` in the working folder."""
    given = dict(work.recipe)
    model = {"path": str(world / "model")} | given.pop("model", {})
    evaluate = {"sample_prompts": 4, "max_new_tokens": 8} | given.pop("evaluate", {})
    recipe: dict[str, Any] = {
        "name": work.name,
        "output_dir": "run",
        "model": model,
        "data": {"path": str(world / work.data), "eval": 0.2, "max_length": 120},
        "train": {
            "learning_rate": 0.002, "batch_size": 4, "epochs": 4.0, "save_steps": 3,
            "eval_steps": 10, "max_tokens_per_batch": 300, "seed": seed,
        },
        "evaluate": evaluate,
    }  # fmt: skip
    if work.command == "online":
        recipe["data"]["eval"] = 0.1
        recipe["train"]["epochs"] = 2.0
        given["online"] = dict(given["online"]) | {"annotator": str(judge)}
    recipe["train"] |= given.pop("train", {})
    return recipe | given


def luce(*arguments: str) -> list[str]:
    """A command line of luce whose steps are noted."""
    return [sys.executable, str(HERE / "soak_noted.py"), *arguments]


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file of lines; none where it is not there."""
    if path.exists():
        for line in path.read_bytes().splitlines():
            yield json.loads(line)
