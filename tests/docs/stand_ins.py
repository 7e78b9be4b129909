"""Small files under the names that the pages use."""

import gzip
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from shown_commands import FENCE, ROOT

from luce.annotate.server import Settings, Store, Task, Verdict
from luce.data.worlds.tasks import Tasks
from luce.lab.text_corpus import made_sentences
from luce.models.export import save_model
from luce.models.reward import load_reward_model

WORDS = "the cat sat on a mat and saw the dog run to its red house by the sea".split()
RECIPE = """
name: recipe
model: path/to/model
data: {path: pairs.jsonl, eval: 0.2, max_length: 128}
objective: {dpo: {beta: 0.5}}
train: {learning_rate: 0.002, batch_size: 4, max_steps: 4}
evaluate: {sample_prompts: 2, max_new_tokens: 4}
"""
TRL = """
model_name_or_path: path/to/model
dataset_name: pairs.jsonl
per_device_train_batch_size: 2
max_steps: 3
learning_rate: 1.0e-3
beta: 0.5
bf16: false
gradient_checkpointing: false
eval_strategy: 'no'
output_dir: runs/translated
"""


class Sandbox:
    """A folder in which a page's commands run; `put` makes a stand-in by its name in a page."""

    def __init__(self, folder: Path, model: Path, run: Path | None = None):
        self.folder, self.model, self.run = folder, model, run
        self.draw = random.Random(0)
        (folder / "recipes").symlink_to(ROOT / "recipes")

    def put(self, page: str, name: str) -> None:
        """Make the stand-in: by its own rule, else by what its name begins or ends with."""
        path = self.folder / name.rstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if name in MAKERS:
            MAKERS[name](self, path)
        elif name.endswith(".block"):  # recipe.yaml.block: what the page itself shows
            language = {".yaml": "yaml", ".py": "python"}[path.with_suffix("").suffix]
            text = (ROOT / page).read_text(encoding="utf-8")
            block = next(b for kind, b in FENCE.findall(text) if kind == language)
            path.with_suffix("").write_text(block)
        elif name.endswith(":run"):
            assert self.run is not None
            shutil.copytree(self.run, self.folder / name.removesuffix(":run"))
        elif name.endswith(":reward"):
            save_model(load_reward_model(str(self.model)), self.folder / name[:-7] / "model")
        elif name.endswith(":model"):
            shutil.copytree(self.model, self.folder / name.removesuffix(":model"))
        elif name.endswith(":verdicts"):
            lines(self.folder / name.removesuffix(":verdicts"), verdicts(self.draw))
        elif name.endswith(":people"):
            one_each = [
                {**row, "preference": i % 2} for i, row in enumerate(verdicts(self.draw)[::2])
            ]
            lines(self.folder / name.removesuffix(":people"), one_each)
        else:
            raise KeyError(f"{page}: no stand-in for {name}")

    def words(self, least: int = 2, most: int = 8) -> str:
        return " ".join(self.draw.choices(WORDS, k=self.draw.randint(least, most)))


def lines(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def pairs(box: Sandbox, path: Path, n: int = 40) -> None:
    lines(
        path,
        [
            {"prompt": f"say {i} {box.words()}", "chosen": f"{box.words()} thanks",
             "rejected": box.words()}
            for i in range(n)
        ],
    )  # fmt: skip


def responses(box: Sandbox, path: Path) -> None:
    lines(path, [{"prompt": f"say {i}", "response": box.words()} for i in range(6)])


def tasks(box: Sandbox, path: Path) -> None:
    lines(
        path,
        [{"prompt": f"say {i}", "response_a": box.words(), "response_b": box.words()}
         for i in range(6)],
    )  # fmt: skip


def verdicts(draw: random.Random) -> list[dict]:
    """Verdicts of a judge who prefers what comes first."""
    return [
        {"prompt": f"say {i}", "model_a": "new", "model_b": "old", "order": order,
         "preference": 0.9 if order == "ab" else 0.2, "length_a": draw.randint(5, 90),
         "length_b": draw.randint(5, 90), "response_a": f"yes {i}", "response_b": f"no {i}"}
        for i in range(30) for order in ("ab", "ba")
    ]  # fmt: skip


def votes(box: Sandbox, path: Path) -> None:
    """Two people of one mind, six tasks."""
    store = Store(path, Settings(overlap=2))
    store.add(Task(f"say {i}", (f"one {i}", f"two {i}"), ("new", "old"), f"t{i}") for i in range(6))
    for name in ("anna", "ben"):
        while (shown := store.next(name)) is not None:
            verdict = Verdict("ranked", (1, 2)).placed(shown.order, back=True)
            store.vote(name, shown.task, f"{name}{shown.task:016d}", verdict)
    store.close()


def world(box: Sandbox, path: Path) -> None:
    """What `luce demo` leaves and the recipes of the world read: prompts, and a policy."""
    rows = [
        {"prompt": prompt, "chosen": "of course", "rejected": "whatever"}
        for prompt in Tasks(0).prompts(60)
    ]
    path.mkdir(parents=True)
    lines(path / "pairs.jsonl", rows)


def rounds(box: Sandbox, path: Path) -> None:
    """The recipe of the page on online learning."""
    box.put("docs/online.md", "recipe.yaml.block")


def corpus(box: Sandbox, path: Path) -> None:
    with gzip.open(path, "wt") as stream:
        stream.writelines(json.dumps({"text": box.words(5, 30)}) + "\n" for _ in range(100))


def factory(box: Sandbox, path: Path) -> None:
    path.write_text(
        "stage: dpo\nmodel_name_or_path: path/to/model\ndataset: mine\ndataset_dir: data\n"
        "template: llama3\nfinetuning_type: lora\npref_beta: 0.1\noutput_dir: runs/factory\n"
    )
    known = {"mine": {"file_name": "pairs.json", "ranking": True}}
    (path.parent / "data").mkdir()
    (path.parent / "data/dataset_info.json").write_text(json.dumps(known))
    (path.parent / "data/pairs.json").write_text(
        json.dumps([{"instruction": "a", "chosen": "b", "rejected": "c"}])
    )


def book(box: Sandbox, path: Path) -> None:
    path.write_text(" ".join(f"{one}." for one in made_sentences(24_000, 1)))


def chats(box: Sandbox, path: Path) -> None:
    lines(path, [{"turns": [{"text": f"{one}."}]} for one in made_sentences(24_000, 2)])


def cost_rows(box: Sandbox, path: Path) -> None:
    chosen = {"policy": [-1.0, -2.0], "reference": [-1.5, -2.5]}
    lines(
        path, [{"id": "a", "chosen": chosen, "rejected": {"policy": [-3.0], "reference": [-2.0]}}]
    )


def text(content: str) -> Callable[[Sandbox, Path], None]:
    return lambda box, path: path.write_text(content) and None


MAKERS: dict[str, Callable[[Sandbox, Path], None]] = {
    "pairs.jsonl": pairs,
    "obvious.jsonl": pairs,
    "benchmark.jsonl": pairs,
    "prompts.jsonl": lambda box, path: lines(path, [{"prompt": f"say {i}"} for i in range(80)]),
    "tasks.jsonl": tasks,
    "new.jsonl": responses,
    "old.jsonl": responses,
    "annotations.sqlite": votes,
    "recipe.yaml": text(RECIPE),
    "recipe.yaml.online": rounds,
    "rows.jsonl": cost_rows,
    "book.txt": book,
    "chats.jsonl": chats,
    "corpus.jsonl.gz": corpus,
    "runs/demo/data": world,
    "dpo.yaml": text(TRL),
    "train.py": text('DPOTrainer("path/to/model", args=DPOConfig("runs/script"),\n'
                     '           train_dataset=load_dataset("json", data_files="pairs.jsonl"))\n'),
    "run.sh": text("trl dpo --model_name_or_path path/to/model --dataset_name pairs.jsonl \\\n"
                   "  --learning_rate 1e-6\n"),
    "reward.yaml": text("model_name_or_path: path/to/model\ndataset_name: pairs.jsonl\n"),
    "llama3_lora_dpo.yaml": factory,
    "dpo.yml": text("base_model: path/to/model\nrl: dpo\nlearning_rate: 1.0e-6\n"
                    "datasets:\n  - {path: pairs.jsonl, type: chat_template.default}\n"),
    "train_dpo.sh": text("python -m openrlhf.cli.train_dpo --pretrain path/to/model "
                         "--dataset pairs.jsonl --beta 0.1 --learning_rate 5e-7\n"),
    "my_package/mine.py": text("def prefers(comparisons):\n"
                               "    return [float(len(c.a) > len(c.b)) for c in comparisons]\n"),
}  # fmt: skip

ONLINE = ("runs/sft/model:model", "runs/rm:reward", "runs/other-rm:reward", "prompts.jsonl")
WORLD = ("runs/demo/data", "runs/demo/sft/model:model")
NEEDS: dict[str, tuple[str, ...]] = {
    "README.md": (
        "pairs.jsonl", "recipe.yaml.block", "path/to/model:model", "prompts.jsonl",
        "verdicts.jsonl:verdicts", "tasks.jsonl", "annotations.sqlite", *WORLD,
    ),
    "docs/annotate.md": (
        "path/to/model:model", "recipe.yaml", "tasks.jsonl", "new.jsonl", "old.jsonl",
        "obvious.jsonl", "annotations.sqlite",
    ),
    "docs/board.md": ("runs/one:run",),
    "docs/cluster.md": ("recipe.yaml.online", *ONLINE),
    "docs/data.md": ("pairs.jsonl", "benchmark.jsonl", "path/to/model:model"),
    "docs/extending.md": (
        "mine.py.block", "recipe.yaml.block", "pairs.jsonl", "rows.jsonl", "models/tiny:model",
    ),
    "docs/first_model.md": ("corpus.jsonl.gz", "pairs.jsonl"),
    "docs/import.md": (
        "path/to/model:model", "pairs.jsonl", "dpo.yaml", "train.py", "run.sh", "reward.yaml",
        "llama3_lora_dpo.yaml", "dpo.yml", "train_dpo.sh",
    ),
    "docs/faq.md": (
        "path/to/model:model", "pairs.jsonl", "recipe.yaml", "verdicts.jsonl:verdicts",
        "runs/first:run", "runs/second:run",
    ),
    "docs/gpu.md": ("path/to/model:model", "pairs.jsonl", "recipe.yaml"),
    "docs/guide_reference.md": ("path/to/model:model", "pairs.jsonl", "recipe.yaml"),
    "docs/index.md": (
        "path/to/model:model", "pairs.jsonl", "recipe.yaml.block", "prompts.jsonl",
        "runs/rm:reward",
    ),
    "docs/lab_text.md": ("book.txt", "chats.jsonl"),
    "docs/judge.md": (
        "new.jsonl", "old.jsonl", "prompts.jsonl", "runs/my-rm:reward",
        "runs/my-run/model:model", "base-model:model", "runs/one:model", "runs/two:model",
        "runs/three:model", "my_package/mine.py", "monday.jsonl:verdicts",
        "tuesday.jsonl:verdicts", "people.jsonl:people",
    ),
    "docs/online.md": ("recipe.yaml.block", *ONLINE, *WORLD),
    "docs/reinforcement.md": ("recipe.yaml.block", *ONLINE),
    "docs/report.md": ("runs/hh-dpo:run",),
    "docs/training.md": ("path/to/model:model", "pairs.jsonl", "recipe.yaml"),
    "docs/tuning.md": (
        "path/to/model:model", "pairs.jsonl", "recipe.yaml", "runs/first:run", "runs/second:run",
    ),
}  # fmt: skip
"""Page → its stand-ins. `NAME.block` is the first block of the page in that language; `:run`,
`:model`, `:reward`, `:verdicts` and `:people` say what a name stands for."""
