"""Synthetic run folders of every kind, written as a finished run leaves them."""

import json
import math
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

MANIFEST: dict[str, Any] = {
    "luce": "0.1.0",
    "command": ["luce", "train", "recipes/hh dpo.yaml", "train.seed=1"],
    "created": "2026-03-01T12:00:00+00:00",
    "status": "finished",
    "seed": 1,
    "objective": {
        "name": "dpo",
        "parameters": {"beta": 0.1},
        "formula": "φ(z) = −log σ(z),  z = Ω(yw) − Ω(yl),  Ω(y) = β log π(y|x)/π_ref(y|x)",
        "structure": "pair",
        "source": "Rafailov et al., 2023, equation 7",
    },
    "reference": {"kind": "initial", "hash": "a1b2c3d4" * 8, "path": None},
    "model": {
        "path": "models/tiny",
        "kind": "policy",
        "hash": "0f1e2d3c" * 8,
        "initial_hash": "a1b2c3d4" * 8,
        "parameters": 1_843_200,
        "trainable_parameters": 1_843_200,
        "lora": None,
    },
    "data": {
        "train": {
            "source": "data/pairs.jsonl",
            "sha256": "5e6f" * 16,
            "format": "implicit prompt (text)",
            "rows_read": 4000,
            "groups": 3790,
            "dropped": 210,
            "changed": 36,
            "tokens": 412_345,
        },
        "eval": {
            "source": "data/pairs.jsonl (5 % of prompts)",
            "sha256": "5e6f" * 16,
            "format": "implicit prompt (text)",
            "rows_read": 200,
            "groups": 200,
            "dropped": 0,
            "changed": 0,
            "tokens": 20_100,
        },
    },
    "template_hash": "77" * 32,
    "terminator": {"id": 2, "token": "<|im_end|>"},
    "layout": "shared",
    "layout_reason": "self-check passed",
    "versions": {"python": "3.11.9", "torch": "2.13.0", "transformers": "5.23.0"},
    "machine": {"cpu": "2 cores", "gpus": []},
    "steps": 400,
    "batch_size": 32,
    "max_tokens_per_batch": 8192,
    "epochs": 1,
    "recipe_fingerprint": "c0ffee" * 10,
    "data_fingerprint": "beef" * 16,
}

EVALUATION: dict[str, Any] = {
    "held_out": {
        "n": 200,
        "accuracy": 0.71,
        "accuracy_low": 0.644,
        "accuracy_high": 0.769,
        "initial_accuracy": 0.5,
    },
    "win_rate": {
        "value": 0.715,
        "low": 0.66,
        "high": 0.768,
        "n": 256,
        "ties": 12,
        "against": "initial",
        "annotator": "gold reward",
    },
    "length": {
        "before": {"mean": 43.0, "low": 41.2, "high": 44.8, "n": 256},
        "after": {"mean": 48.2, "low": 46.0, "high": 50.4, "n": 256},
    },
    "kl": {"value": 3.1, "low": 2.8, "high": 3.4, "n": 256},
}

LEDGER: list[dict[str, Any]] = [
    {
        "file": "data/pairs.jsonl",
        "line": 17 + 9 * i,
        "id": f"row-{i}",
        "field": "rejected" if i % 3 else "chosen",
        "action": "changed" if i % 7 == 3 else "dropped",
        "reason": "left_prompt" if i % 7 == 3 else ("too_long" if i % 3 else "identical_pair"),
        "detail": f"1,{100 + i} tokens, {76 + i} over max_length 1,024",
    }
    for i in range(64)
]


def pair_metrics(steps: int = 400, every: int = 50) -> list[dict[str, Any]]:
    """A DPO run in which chosen rises a little and rejected falls more."""
    generator = random.Random(0)
    rows: list[dict[str, Any]] = []
    for step in range(steps + 1):
        gone = 1 - math.exp(-step / 150)
        chosen, rejected = -52.0 + 0.4 * gone, -55.0 - 1.6 * gone

        def noise(scale: float) -> float:
            return generator.gauss(0, scale)

        if step:
            rows.append(
                {
                    "split": "train",
                    "step": step,
                    "epoch": step / steps,
                    "pairs": 32,
                    "loss": 0.693 - 0.15 * gone + noise(0.03),
                    "grad_norm": 4 + 2 * gone + abs(noise(1)),
                    "learning_rate": 1e-6 * min(1.0, step / 40) * (1 - step / (steps + 1)),
                    "rewards/chosen": 0.1 * (chosen + 52) + noise(0.02),
                    "rewards/rejected": 0.1 * (rejected + 55) + noise(0.02),
                    "rewards/margins": 0.2 * gone + noise(0.05),
                    "rewards/accuracies": min(1.0, 0.5 + 0.22 * gone + noise(0.08)),
                    "logps/chosen": chosen + noise(2),
                    "logps/rejected": rejected + noise(2),
                    "logps_per_token/chosen": chosen / 40 + noise(0.04),
                    "logps_per_token/rejected": rejected / 38 + noise(0.04),
                    "length/chosen": 40 + noise(2),
                    "length/rejected": 38 + noise(2),
                }
            )
        if step % every == 0:
            accuracy = 0.5 + 0.21 * gone
            rows.append(
                {
                    "split": "eval",
                    "step": step,
                    "n": 200,
                    "eval_loss": 0.693 - 0.12 * gone,
                    "eval_rewards/accuracies": accuracy,
                    "eval_rewards/accuracies_low": accuracy - 0.07,
                    "eval_rewards/accuracies_high": accuracy + 0.06,
                    "eval_rewards/margins": 0.19 * gone,
                    "eval_rewards/chosen": 0.1 * (chosen + 52),
                    "eval_rewards/rejected": 0.1 * (rejected + 55),
                    "eval_logps/chosen": chosen,
                    "eval_logps/rejected": rejected,
                    "eval_logps_per_token/chosen": chosen / 40,
                    "eval_logps_per_token/rejected": rejected / 38,
                    "eval_length/chosen": 40.0,
                    "eval_length/rejected": 38.0,
                }
            )
    return rows


def samples(n: int = 12) -> list[dict[str, Any]]:
    questions = ("Sort these numbers: 9 4 7 1.", "Say hello to a guest.", "Copy in capitals: river")
    answers = ("1 4 7 9", "Good morning, and welcome! How may I help you today?", "RIVER")
    return [
        {
            "prompt": questions[i % 3],
            "before": "Well, let me think about this for a while. " * (1 + i % 2) + answers[i % 3],
            "after": answers[i % 3],
            "before_tokens": 22 + i,
            "after_tokens": 9 + i,
            "before_ended": i % 4 != 0,
            "after_ended": True,
            "before_reward": 0.2 * i,
            "after_reward": 0.9 + 0.1 * i,
        }
        for i in range(n)
    ]


def jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


WriteRun = Callable[..., Path]


def write_folder(
    root: Path,
    name: str = "hh-dpo",
    *,
    manifest: dict[str, Any] | None = MANIFEST,
    metrics: list[dict[str, Any]] | None = None,
    ledger: list[dict[str, Any]] | None = LEDGER,
    sampled: list[dict[str, Any]] | None = None,
    evaluation: dict[str, Any] | None = EVALUATION,
    recipe: str | None = "train:\n  learning_rate: 1.0e-06  # recipe\n",
) -> Path:
    """A run folder; None leaves a file out, except of metrics and samples, whose None is theirs."""
    folder = root / name
    folder.mkdir(parents=True)
    files = {
        "manifest.json": None if manifest is None else json.dumps(manifest),
        "metrics.jsonl": jsonl(pair_metrics() if metrics is None else metrics),
        "rows.jsonl": None if ledger is None else jsonl(ledger),
        "samples.jsonl": jsonl(samples() if sampled is None else sampled),
        "evaluation.json": None if evaluation is None else json.dumps(evaluation),
        "recipe.yaml": recipe,
    }
    for file, text in files.items():
        if text is not None:
            (folder / file).write_bytes(text.encode("utf-8", "surrogatepass"))
    return folder


@pytest.fixture
def write_run(tmp_path) -> WriteRun:
    """Writes a run folder below the test's own."""
    return partial(write_folder, tmp_path)


@pytest.fixture(scope="session")
def finished_folder(tmp_path_factory) -> Path:
    """A finished DPO run for tests that only read; `run_folder` is for those that change it."""
    return write_folder(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def run_folder(write_run) -> Path:
    """A finished DPO run with everything in it."""
    return write_run()


@pytest.fixture
def evaluation() -> dict[str, Any]:
    """A finished run's evaluation, to be changed."""
    return json.loads(json.dumps(EVALUATION))


@pytest.fixture
def make_samples() -> Callable[[int], list[dict[str, Any]]]:
    """n lines of samples.jsonl."""
    return samples


@pytest.fixture
def make_metrics() -> Callable[..., list[dict[str, Any]]]:
    """metrics.jsonl of a DPO run: (steps, every) -> lines."""
    return pair_metrics


@pytest.fixture
def with_manifest() -> Callable[..., dict[str, Any]]:
    """The manifest with dotted keys replaced: `with_manifest({"objective.name": "sft"})`."""

    def change(values: dict[str, Any]) -> dict[str, Any]:
        manifest = json.loads(json.dumps(MANIFEST))
        for path, value in values.items():
            *parents, last = path.split(".")
            entry = manifest
            for key in parents:
                entry = entry[key]
            entry[last] = value
        return manifest

    return change
