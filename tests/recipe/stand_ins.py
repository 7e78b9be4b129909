"""Small stand-ins for what a recipe names, and everything that a run leaves, byte for byte.

Whoever trains twice from here may ask for equality of folders: rows are ragged, adapters drop out,
steps are cut into micro-batches, and only what tells the time is left out.
"""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from luce.data.worlds.tasks import Tasks
from luce.recipe.load import Resolved, load_recipe
from luce.types import CostFunction

WORDS = "the cat sat on a mat and saw the dog run to its red house by the sea".split()
TIMES = {"timing.jsonl", "report.html", "README.md", ".lock"}
"""Files that tell when a run was, or are made of the others."""

GRADER = """
def residue(prompt, responses):
    return [sum(map(ord, r)) % 17 / 17 for r in responses]
"""
"""A scorer whose rewards of random texts differ, as those of a task would not."""

ROWS = 12
SMALL = (
    "data.split=null", "data.max_length=160", "data.eval=0.25", "train.batch_size=4",
    "train.max_steps=3", "train.max_tokens_per_batch=120", "train.learning_rate=0.01",
    "train.save_steps=2", "evaluate.sample_prompts=2", "evaluate.max_new_tokens=6",
)  # fmt: skip
ONLINE = (
    "data.path=prompts.jsonl", "online.rounds=2", "online.prompts_per_round=4", "online.n=2",
    "online.max_new_tokens=6", "online.block=2", "online.annotator=grader:residue",
)  # fmt: skip


def write_rows(folder: Path) -> None:
    """A file of rows for each structure, of lengths that differ, one of prompts, and the scorer."""
    (folder / "grader.py").write_text(GRADER)
    draw = random.Random(5)

    def text() -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(1, 9)))

    def put(name: str, rows: list[dict[str, Any]]) -> None:
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))

    says = [f"say {i} {text()}" for i in range(ROWS)]
    graded = {"score_chosen": 4.0, "score_rejected": 1.5, "reference_sample": "chosen"}
    put("pair", [{"prompt": p, "chosen": text(), "rejected": text(), **graded} for p in says])
    put("unpaired", [{"prompt": p, "completion": text(), "label": i % 3 > 0}
                     for i, p in enumerate(says)])  # fmt: skip
    put("demonstration", [{"prompt": p, "completion": text()} for p in says])
    lists = [[text() for _ in range(2 + i % 3)] for i in range(ROWS)]
    grades = [[float(j) for j in range(len(some))] for some in lists]
    put("list", [{"prompt": p, "responses": r, "scores": s}
                 for p, r, s in zip(says, lists, grades, strict=True)])  # fmt: skip
    put("ranking_rewards", [{"prompt": p, "responses": r, "rewards": s}
                            for p, r, s in zip(says, lists, grades, strict=True)])  # fmt: skip
    put("judged", [{"prompt": p, "chosen": text(), "rejected": text(), "annotator": f"a{i % 3}"}
                   for i, p in enumerate(says)])  # fmt: skip
    put("prompts", [{"prompt": p} for p in Tasks(0).prompts(ROWS, split="train")])


def stand_in(path: Path, folder: Path, model: Path) -> Resolved:
    """A recipe file as it is, but for what is trained, on what, and for how long. Rows are those of
    `write_rows`, in the current folder."""
    given = load_recipe(path)
    recipe = given.recipe
    rows = given.objective.structure if isinstance(given.objective, CostFunction) else ""
    if recipe.data.format != "auto":
        rows = recipe.data.format
    more = [f"model.path={model}", f"data.path={rows}.jsonl", f"output_dir={folder}", *SMALL]
    more += ONLINE if recipe.online is not None else ()
    more += ["model.lora.dropout=0.2"] if recipe.model.lora is not None else []
    if "/" in recipe.reference:
        more += [f"reference={model}"]
    return load_recipe(path, more)


def left(folder: Path) -> dict[str, bytes]:
    """Path below the folder → content, of all that a run left but `TIMES`."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in TIMES:
            content = path.read_bytes()
            if path.name == "manifest.json":
                content = json.dumps({**json.loads(content), "created": None}).encode()
            found[str(path.relative_to(folder))] = content
    return found


def differences(ours: Mapping[str, bytes], theirs: Mapping[str, bytes]) -> list[str]:
    """Files that only one of two runs left, or whose bytes differ."""
    names = sorted(ours.keys() | theirs.keys())
    return [name for name in names if ours.get(name) != theirs.get(name)]
