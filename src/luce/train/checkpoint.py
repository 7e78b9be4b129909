"""Checkpoints that are whole or absent, and found damaged before they are used.

    checkpoints/step-00000050/
        weights.safetensors     trained parameters
        optimizer.safetensors   AdamW's moments
        state.json              step, running statistics
        manifest.json           sha256 of each file, names of the tensors, the run's identity;
                                written last

Written into `.partial-step-…`, every file fsynced, the folder renamed, its parent fsynced; only
then are older ones deleted. A kill at any instant leaves the older one or the newer one.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from luce.errors import CheckpointError
from luce.files import fsync_folder, sha256_file, write_json
from luce.numerics import first_non_finite

FILES = ("weights.safetensors", "optimizer.safetensors", "state.json")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint read from disk and verified.

    Attributes:
        step: optimizer steps done.
        tensors, values: what `Trainer.state` gave.
        identity: what the run said it was when it wrote this.
        path: its folder.
    """

    step: int
    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]
    identity: Mapping[str, Any]
    path: Path


def save_checkpoint(
    folder: Path,
    step: int,
    tensors: Mapping[str, Tensor],
    values: Mapping[str, Any],
    identity: Mapping[str, Any],
    keep: int,
) -> Path:
    """Write a checkpoint under `folder`, then delete all but the newest `keep`.

    Raises:
        CheckpointError: the disk refused; older checkpoints are untouched.
    """
    target = folder / f"step-{step:08d}"
    aside = folder / f".partial-step-{step:08d}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        for name, prefix in (("weights", "weights."), ("optimizer", "optimizer.")):
            part = {k: v.cpu().contiguous() for k, v in tensors.items() if k.startswith(prefix)}
            save_file(part, aside / f"{name}.safetensors")
            _fsync(aside / f"{name}.safetensors")
        write_json(aside / "state.json", dict(values))
        digests = {name: sha256_file(aside / name) for name in FILES}
        facts = {"step": step, "sha256": digests, "tensors": sorted(tensors)}
        write_json(aside / "manifest.json", {**facts, **identity})
        fsync_folder(aside)
        if target.exists():  # written by the run that was killed right after this very rename
            shutil.rmtree(target)
        aside.rename(target)
        fsync_folder(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(aside, ignore_errors=True)
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        raise CheckpointError(
            f"{target}: the checkpoint, {size:,} bytes, could not be written ({error}). Older "
            "checkpoints are untouched; make room or change output_dir, then resume."
        ) from error
    for old in _folders(folder)[:-keep]:
        shutil.rmtree(old)
    return target


def latest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint whose every file has its hash, and a line for each newer, damaged one.

    Raises:
        CheckpointError: checkpoints exist and all of them are damaged.
    """
    damaged = []
    for path in reversed(_folders(folder)):
        try:
            return _load(path), damaged
        except CheckpointError as error:
            damaged.append(str(error))
    if damaged:
        raise CheckpointError(
            f"{folder}: every checkpoint is damaged. {damaged[0]} Start the run again with "
            "another output_dir."
        )
    return None, []


def _load(path: Path) -> Checkpoint:
    try:
        manifest = json.loads((path / "manifest.json").read_text())
        digests, names = manifest["sha256"], manifest["tensors"]
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: no readable manifest.json ({error}).") from error
    for name in FILES:
        if not (path / name).is_file():
            raise CheckpointError(f"{path / name}: missing.")
        if sha256_file(path / name) != digests.get(name):
            raise CheckpointError(f"{path / name}: its bytes do not have the recorded sha256.")
    tensors = load_file(path / "weights.safetensors") | load_file(path / "optimizer.safetensors")
    if lost := sorted(set(names) ^ set(tensors)):
        raise CheckpointError(f"{path}: {lost[0]} is missing, or should not be there.")
    if bad := first_non_finite(tensors.items()):
        raise CheckpointError(f"{path}: {bad} holds a nan or an infinity.")
    values = json.loads((path / "state.json").read_text())
    identity = {k: v for k, v in manifest.items() if k not in ("step", "sha256", "tensors")}
    return Checkpoint(int(manifest["step"]), tensors, values, identity, path)


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("step-*") if p.is_dir())


def _fsync(path: Path) -> None:
    with open(path, "rb+") as stream:
        os.fsync(stream.fileno())
