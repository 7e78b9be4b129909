"""What a run says of itself: versions, machine, identity; enough to trust it and to run it again."""

import datetime
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import torch

from luce.files import fingerprint

PACKAGES = ("luce", "torch", "transformers", "tokenizers", "peft", "datasets", "safetensors", "numpy")

NOT_IDENTITY = (
    "name",
    "output_dir",
    "train.logging_steps",
    "train.save_steps",
    "train.save_total_limit",
    "train.report_to",
    "evaluate",
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
    """Processor, cores and accelerators; no host name, no user."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "system": platform.system(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
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
    return keys | dict(facts)


def recipe_fingerprint(recipe: Mapping[str, Any]) -> str:
    """One hash of every key that enters a number."""
    return fingerprint(identity(recipe, {}))
