"""Checkpoints: whole or absent, verified, the older one kept until the newer is safe."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from luce.errors import CheckpointError
from luce.train import checkpoint as room
from luce.train.checkpoint import latest_checkpoint, save_checkpoint


def state(step):
    return {"weights.a": torch.full((3,), float(step)), "optimizer.a.exp_avg": torch.zeros(3)}


def save(folder, step, keep=2):
    return save_checkpoint(folder, step, state(step), {"step": step}, {"train.seed": 0}, keep)


def test_what_was_saved_is_what_is_loaded(tmp_path):
    save(tmp_path, 7)
    found, damaged = latest_checkpoint(tmp_path)
    assert (found.step, found.values, found.identity) == (7, {"step": 7}, {"train.seed": 0})
    assert torch.equal(found.tensors["weights.a"], torch.full((3,), 7.0)) and damaged == []


def test_only_the_newest_are_kept(tmp_path):
    for step in (1, 2, 3):
        save(tmp_path, step)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]


@pytest.mark.parametrize("name", [*room.FILES, "manifest.json"])
@pytest.mark.parametrize("fault", ["flip", "cut", "gone"])
def test_a_damaged_checkpoint_is_named_and_the_older_one_used(tmp_path, name, fault):
    save(tmp_path, 1)
    target = save(tmp_path, 2) / name
    content = target.read_bytes()
    match fault:
        case "flip":
            target.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
        case "cut":
            target.write_bytes(content[: len(content) // 2])
        case "gone":
            target.unlink()
    if name == "manifest.json" and fault == "flip":
        target.write_text(target.read_text().replace('"step"', '"stop"'))
        shutil.rmtree(target.parent / "x", ignore_errors=True)
        target.write_text("{")
    found, damaged = latest_checkpoint(tmp_path)
    assert found.step == 1
    assert len(damaged) == 1 and "step-00000002" in damaged[0]


@pytest.mark.parametrize("fault", ["nan", "gone", "more"])
def test_tensors_that_are_none_are_damage_whatever_the_hashes_say(tmp_path, fault):
    save(tmp_path, 1)
    path = save(tmp_path, 2)
    tensors = load_file(path / "weights.safetensors")
    match fault:
        case "nan":
            tensors["weights.a"][1] = float("nan")
        case "gone":
            tensors = {"weights.b": tensors["weights.a"]}
        case "more":
            tensors["weights.b"] = tensors["weights.a"].clone()
    save_file(tensors, path / "weights.safetensors")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["sha256"]["weights.safetensors"] = room.sha256_file(path / "weights.safetensors")
    (path / "manifest.json").write_text(json.dumps(manifest))
    found, (damaged,) = latest_checkpoint(tmp_path)
    assert found.step == 1
    assert ("weights.b" if fault == "more" else "weights.a") in damaged


def test_when_all_are_damaged_the_run_stops(tmp_path):
    (save(tmp_path, 1) / "state.json").unlink()
    with pytest.raises(CheckpointError, match="every checkpoint is damaged"):
        latest_checkpoint(tmp_path)


def test_no_checkpoint_is_no_error(tmp_path):
    assert latest_checkpoint(tmp_path / "none") == (None, [])


@pytest.mark.parametrize("operation", ["save_file", "write_json", "fsync_folder", "sha256_file"])
def test_a_disk_that_refuses_leaves_the_older_checkpoint(tmp_path, monkeypatch, operation):
    save(tmp_path, 1)

    def refuse(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(room, operation, refuse)
    with pytest.raises(CheckpointError, match="No space left on device"):
        save(tmp_path, 2)
    monkeypatch.undo()
    assert latest_checkpoint(tmp_path)[0].step == 1
    assert not list(tmp_path.glob(".partial*"))


def test_a_half_written_folder_of_a_killed_run_is_ignored_and_replaced(tmp_path):
    (tmp_path / ".partial-step-00000002").mkdir()
    (tmp_path / ".partial-step-00000002" / "weights.safetensors").write_bytes(b"torn")
    assert latest_checkpoint(tmp_path) == (None, [])
    save(tmp_path, 2)
    assert latest_checkpoint(tmp_path)[0].step == 2


def test_the_manifest_is_written_last(tmp_path, monkeypatch):
    order = []
    write = room.write_json
    monkeypatch.setattr(room, "write_json", lambda p, v: (order.append(p.name), write(p, v))[1])
    path = save(tmp_path, 1)
    assert order[-1] == "manifest.json"
    assert set(json.loads((path / "manifest.json").read_text())["sha256"]) == set(room.FILES)
