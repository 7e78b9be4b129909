"""What a run says of itself: versions, machine, identity; enough to trust it and to repeat it."""

import datetime
import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import torch

from luce.data.dataset import Dataset
from luce.data.template import Renderer
from luce.files import canonical_json, fingerprint
from luce.models.policy import CausalPolicy
from luce.models.policy_mixture import PolicyMixture
from luce.models.reward import RewardModel
from luce.objectives.own import code_of
from luce.recipe.load import Resolved, written
from luce.recipe.prepare import Data, train_settings
from luce.types import Group

PACKAGES = (
    "luce",
    "torch",
    "transformers",
    "tokenizers",
    "peft",
    "datasets",
    "safetensors",
    "numpy",
)

NOT_IDENTITY = (
    "name",
    "output_dir",
    "train.logging_steps",
    "train.save_steps",
    "train.save_total_limit",
    "train.report_to",
    "train.strategy",
    "evaluate.sample_prompts",
    "evaluate.max_new_tokens",
    "evaluate.temperature",
    "evaluate.annotator",
    "evaluate.annotator_kind",
    "evaluate.max_kl",
    "diagnose",
)
"""Recipe keys that change what a run tells, not what it computes: free to differ on resume."""


def versions() -> dict[str, str]:
    """Versions of Python and of the packages whose code enters a number."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Processor, cores and accelerators, how float32 matrices are multiplied, and whether only
    by deterministic kernels; no host name, no user."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "system": platform.system(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "gpus": gpus,
    }


def now() -> str:
    """UTC time to the second, ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys of a nested mapping.

    >>> flatten({"train": {"seed": 0}, "model": "m"})
    {'train.seed': 0, 'model': 'm'}
    """
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            flat |= flatten(item, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = item
    return flat


def identity(recipe: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """What may not change between a run and its resumption: recipe keys and content hashes."""
    keys = {
        key: value
        for key, value in flatten(recipe).items()
        if not any(key == n or key.startswith(f"{n}.") for n in NOT_IDENTITY)
    }
    # as it reads back from the checkpoint that keeps it: a tuple comes back as a list
    return json.loads(canonical_json(keys | dict(facts)))


def recipe_fingerprint(recipe: Mapping[str, Any]) -> str:
    """One hash of every key that enters a number."""
    return fingerprint(identity(recipe, {}))


def tokens_fingerprint(groups: Sequence[Group]) -> str:
    """One hash of every token, label, weight, margin, score, sample and rating that training sees,
    in order."""
    return fingerprint(
        [
            [g.prompt.tolist(), [b.ids.tolist() for b in g.branches], g.label, g.weight, g.id]
            + [str(g.margin), list(g.scores), str(g.reference_sample)]
            + [dict(r) for r in g.ratings]
            for g in groups
        ]
    )


def again(output_dir: str) -> list[str]:
    """The command that repeats a run from its resolved recipe, into a folder beside it.

    >>> again("runs/a")
    ['luce', 'train', 'runs/a/recipe.yaml', 'output_dir=runs/a-again']
    """
    return ["luce", "train", f"{output_dir}/recipe.yaml", f"output_dir={output_dir}-again"]


def build_manifest(
    resolved: Resolved,
    model: CausalPolicy | RewardModel,
    renderer: Renderer,
    data: Data,
    reference: Mapping[str, Any],
    history: Mapping[str, Any],
) -> dict[str, Any]:
    """manifest.json as it stands before the first step."""
    recipe, objective = resolved.recipe, resolved.objective
    plain = written(recipe)
    whole, trained = model.counts()
    return {
        "luce": versions().get("luce"),
        "name": recipe.name,
        "command": again(recipe.output_dir),
        "created": now(),
        "seed": recipe.train.seed,
        "objective": {
            "name": objective.name,
            "parameters": dict(objective.parameters),
            "formula": objective.formula,
            "structure": objective.structure,
            "scope": objective.scope,
            "needs": sorted(objective.needs),
            "source": getattr(objective, "source", ""),
            "code": code_of(recipe.objective.name),
        },
        "reference": dict(reference),
        "history": dict(history),
        "model": {
            "path": recipe.model.path,
            "kind": recipe.model.kind,
            "initial_hash": model.hash(),
            "dtype": model.dtype,
            "lora": None if recipe.model.lora is None else recipe.model.lora.model_dump(),
            "heads": heads_facts(model),
            "parameters": whole,
            "trainable_parameters": trained,
        },
        "data": {
            "fingerprint": tokens_fingerprint([*data.train, *data.held_out]),
            "train": _data_facts(data.dataset, len(data.train)),
            "eval": _eval_facts(data),
        },
        "template": renderer.origin,
        "template_hash": renderer.template_hash,
        "terminator": {
            "id": renderer.terminator,
            "token": model.tokenizer.convert_ids_to_tokens(renderer.terminator),
        },
        "layout": model.layout,
        "layout_reason": model.layout_reason,
        "versions": versions(),
        "machine": machine(),
        "batch_size": recipe.train.batch_size,
        "max_tokens_per_batch": recipe.train.max_tokens_per_batch,
        "epochs": recipe.train.epochs,
        "total_steps": train_settings(recipe).total_steps(len(data.train)),
        "recipe_fingerprint": recipe_fingerprint(plain),
    }


def heads_facts(model: CausalPolicy | RewardModel) -> dict[str, Any] | None:
    """What several outputs, or several policies, stand for, with their numbers as they are now;
    None of one."""
    if not isinstance(model, RewardModel | PolicyMixture) or not model.heads.names:
        return None
    numbers = None if model.numbers is None else model.numbers.tolist()
    return {"kind": model.heads.kind, "names": list(model.heads.names), "numbers": numbers}


def _data_facts(dataset: Dataset, used: int) -> dict[str, Any]:
    return {
        "source": dataset.source,
        "sha256": dataset.sha256,
        "format": dataset.format_name,
        "rows_read": dataset.rows_read,
        "groups": used,
        "dropped": dataset.rows_dropped,
        "changed": len(
            {(e["file"], e["line"]) for e in dataset.ledger if e["action"] == "changed"}
        ),
        "tokens": dataset.tokens,
    }


def _eval_facts(data: Data) -> dict[str, Any] | None:
    if data.evaluation is not None:
        return _data_facts(data.evaluation, len(data.held_out))
    if data.held_out:
        return {
            "source": f"{data.dataset.source} (held out by prompt)",
            "groups": len(data.held_out),
        }
    return None
