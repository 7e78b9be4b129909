"""`luce train` on a recipe beside `DPOTrainer.train()`: one epoch over the same rows and weights.

Each program runs in a process of its own, from a folder with a model and a file with pairs, as a
user would start it. TRL keeps its defaults (checkpointing, the reference in every step, batches of
8); luce computes the reference once, and that pass is counted. Both must read the same tokens.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from benchmarks import corpora, shapes

BATCH = 8
LUCE_PHASES = {
    "open_recipe": "load the model, read and tokenize the rows",
    "_check_layout": "check the layout",
    "prepare_reference": "reference pass",
    "_start": "the start, for comparison",
    "_fit": "train",
    "export": "save, reload, compare",
    "evaluate_run": "evaluate",
    "write_report": "report",
}
"""Functions of `luce.recipe.run` by what they do."""

TRAINING = {"luce": ("reference pass", "train"), "trl": ("train",)}
"""What counts as training: everything between a loaded model and a trained one."""


def prepare(folder: Path, shape_name: str, pairs: int) -> dict[str, str]:
    """Writes the model and the file with pairs that both programs read."""
    shape = shapes.SHAPES[shape_name]
    words = corpora.tokenizer(corpora.data_folder(), min(shape.vocabulary, 32_000))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=words,
        eos_token=corpora.END_TEXT,
        pad_token=corpora.END_TEXT,
        clean_up_tokenization_spaces=False,
    )
    model, rows = folder / "model", folder / "pairs.jsonl"
    shapes.reference_model(shape).save_pretrained(model)
    fast.save_pretrained(model)
    with rows.open("w", encoding="utf-8") as stream:
        for prompt, chosen, rejected in _fitting(words, pairs):
            row = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
            stream.write(json.dumps(row) + "\n")
    return {"model": str(model), "pairs": str(rows)}


def _fitting(words: Any, count: int) -> Iterator[tuple[str, str, str]]:
    """The first rows that no length limit touches: the programs cut too long rows differently.
    Without the line breaks in front by which luce knows a dialogue: both read plain text."""
    for prompt, chosen, rejected in corpora.shuffled_texts("hh", corpora.data_folder()):
        prompt = prompt.lstrip("\n")
        width = max(len(words.encode(prompt + text).ids) for text in (chosen, rejected))
        if chosen and rejected and width < corpora.MAX_LENGTH:
            yield prompt, chosen, rejected
            count -= 1
            if not count:
                return
    raise SystemExit(f"{count} pairs too few for the end-to-end case; ask for less with --pairs.")


@contextmanager
def phase(times: dict[str, list[float]], name: str) -> Iterator[None]:
    """Adds CPU and wall seconds of what runs inside to the times of a phase."""
    cpu, wall = time.process_time(), time.perf_counter()
    yield
    old = times.get(name, [0.0, 0.0])
    times[name] = [
        old[0] + time.process_time() - cpu,
        old[1] + time.perf_counter() - wall,
    ]


def run_luce(given: Mapping[str, str], folder: Path, bf16: bool) -> dict[str, Any]:
    """`luce train` on a recipe; times by phase, and what was read."""
    times: dict[str, list[float]] = {}
    read: dict[str, Any] = {}
    from luce.recipe import run as job

    def watched(inner: Callable[..., Any], name: str) -> Callable[..., Any]:
        def outer(*arguments: Any, **keywords: Any) -> Any:
            with phase(times, name):
                result = inner(*arguments, **keywords)
            if inner.__name__ == "open_recipe":
                read["groups"] = result[2].train
            return result

        return outer

    for function, name in LUCE_PHASES.items():
        setattr(job, function, watched(getattr(job, function), name))
    recipe = {
        "model": given["model"],
        "data": {"path": given["pairs"], "render": "plain", "eval": None},
        "objective": {"dpo": {"beta": 0.1}},
        "output_dir": str(folder / "luce"),
        "train": {"batch_size": BATCH, "epochs": 1.0, "learning_rate": 1e-6, "bf16": bf16},
    }
    job.train_run(recipe)
    tokens = {
        (tuple(map(int, g.prompt)), *(tuple(map(int, b.ids)) for b in g.branches))
        for g in read["groups"]
    }
    metrics = (folder / "luce" / "metrics.jsonl").read_text().splitlines()
    first = next(json.loads(line) for line in metrics if json.loads(line)["split"] == "train")
    return {
        "phases": times,
        "tokens": fingerprint(tokens),
        "steps": sum(json.loads(line)["split"] == "train" for line in metrics),
        "first_loss": first["loss"],
        "whole": [time.process_time(), time.perf_counter() - _started()],
    }


def run_trl(given: Mapping[str, str], folder: Path, bf16: bool) -> dict[str, Any]:
    """`DPOTrainer.train()` with TRL's defaults; times by phase, and what was read."""
    from datasets import load_dataset
    from trl import DPOConfig, DPOTrainer

    times: dict[str, list[float]] = {}
    with phase(times, "load the model, read and tokenize the rows"):
        config = DPOConfig(
            output_dir=str(folder / "trl"),
            num_train_epochs=1,
            per_device_train_batch_size=BATCH,
            bf16=bf16,
            use_cpu=True,
            logging_steps=1,
            report_to="none",
            disable_tqdm=True,
        )
        rows = load_dataset(
            "json", data_files=given["pairs"], split="train", cache_dir=str(folder / "datasets")
        )
        trainer = DPOTrainer(given["model"], args=config, train_dataset=rows)
    with phase(times, "train"):
        trainer.train()
    with phase(times, "save"):
        trainer.save_model(str(folder / "trl-model"))
    read: Any = trainer.train_dataset
    tokens = {
        (tuple(row["prompt_ids"]), tuple(row["chosen_ids"]), tuple(row["rejected_ids"]))
        for row in read
    }
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {
        "phases": times,
        "tokens": fingerprint(tokens),
        "steps": trainer.state.global_step,
        "first_loss": losses[0],
        "whole": [time.process_time(), time.perf_counter() - _started()],
    }


def _started() -> float:
    """When this process began, by the clock of `perf_counter`."""
    ticks = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
    begun = ticks / os.sysconf("SC_CLK_TCK")
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return time.perf_counter() - (uptime - begun)


def fingerprint(tokens: set[tuple[tuple[int, ...], ...]]) -> str:
    """A hash of token ids, whatever the order of the rows."""
    return hashlib.sha256(repr(sorted(tokens)).encode()).hexdigest()


def run(program: str, given: Mapping[str, str], folder: Path, bf16: bool) -> dict[str, Any]:
    """One program in this process; JSON-able."""
    run_one = {"luce": run_luce, "trl": run_trl}[program]
    return run_one(given, folder, bf16) | {
        "program": program,
        "threads": torch.get_num_threads(),
    }


def compared(rounds: list[dict[str, Any]]) -> None:
    """Raise SystemExit unless all runs read the same tokens and took the same steps."""
    for key in ("tokens", "steps"):
        if len({run[key] for run in rounds}) != 1:
            found = {run["program"]: run[key] for run in rounds}
            raise SystemExit(f"end to end: the programs differ in {key}: {found}.")
    losses = [run["first_loss"] for run in rounds]
    if max(losses) - min(losses) > 1e-2:
        raise SystemExit(f"end to end: the first losses differ: {losses}.")


def training_seconds(run: Mapping[str, Any], wall: bool = False) -> float:
    """Seconds between a loaded model and a trained one."""
    return sum(run["phases"][name][int(wall)] for name in TRAINING[run["program"]])
