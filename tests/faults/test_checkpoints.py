"""Saves that are cut off, torn or refused by the disk, and checkpoints that are damaged."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fault_bench import ANSWERED, SAME, Bench, case, ended
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent
SAVES = {"max_steps": 4, "save_steps": 1, "save_total_limit": 3}


@pytest.fixture(scope="session")
def shim(tmp_path_factory) -> Path:
    """`shim.c`, built; skips where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and a C compiler")
    built = tmp_path_factory.mktemp("shim") / "shim.so"
    command = [compiler, "-shared", "-fPIC", str(HERE / "shim.c"), "-o", str(built), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return built


@pytest.fixture
def sweep(shim, tmp_path):
    """`sweep(mode, first, last, every)`: what came of a fault at each of these operations."""

    def run(mode: int, first: int, last: int, every: int) -> list[dict]:
        folder, results = tmp_path / "run", tmp_path / "results.jsonl"
        folder.mkdir()
        arguments = [str(n) for n in (mode, first, last, every)]
        given = {"LD_PRELOAD": str(shim), "FAULT_FOLDER": str(folder), "OMP_NUM_THREADS": "1"}
        given["FAULT_LOG"] = str(tmp_path / "log.txt")
        done = subprocess.run(
            [sys.executable, str(HERE / "shim_child.py"), *arguments, str(results)],
            env=os.environ | given, capture_output=True, text=True, timeout=1800,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in results.read_text().splitlines()]

    return run


FEW = (34, 66, 8)
ALL = (1, 200, 1)
SWEEPS = [
    pytest.param(FEW, id="few"),
    pytest.param(ALL, id="all", marks=pytest.mark.slow),
]
"""Operations 34 to 66 are the second save of the run, which deletes the first."""


@pytest.mark.parametrize("which", SWEEPS)
@pytest.mark.parametrize(
    "mode",
    [
        pytest.param(1, marks=case(75, 78, what="kill -9 at a file operation of a save, and while "
                                   "older checkpoints are deleted, of which one is kept",
                                   answer=SAME)),
        pytest.param(2, marks=case(76, what="a write torn in the middle, then kill -9",
                                   answer=SAME)),
    ],
)  # fmt: skip
def test_killed_at_a_file_operation(sweep, says, mode: int, which) -> None:
    (head, *found) = sweep(mode, *which)
    assert found and all(record["code"] == -9 for record in found)
    assert [record for record in found if not record["same"]] == []
    later = [record for record in found if record["number"] > 33]
    assert all(record["kept"] for record in later)  # never without a checkpoint
    says(f"{len(found)} of the {head['operations']} operations of a run: every one resumes to the "
         "same weights and metrics, and one whole checkpoint is always there")  # fmt: skip


@pytest.mark.parametrize("which", SWEEPS)
@case(77, what="a full disk at a file operation", answer=ANSWERED)
def test_a_full_disk_at_a_file_operation(sweep, says, which) -> None:
    (_, *found) = sweep(3, *which)
    assert [record for record in found if not record["same"]] == []
    # a folder that is there already need not be made: that refusal harms nothing
    assert {record["code"] for record in found} <= {0, 2}
    refused = [record for record in found if record["code"] == 2]
    assert len(refused) > len(found) / 2
    assert all("No space left on device" in record["said"] for record in refused)
    folder = "checkpoints/step-"
    told = next(record["said"] for record in refused if folder in record["said"])
    says(told)


@case(75, what="the order in which a save reaches the disk", answer=SAME)
def test_files_are_flushed_before_they_are_named(sweep, tmp_path, says) -> None:
    """What a power cut leaves: every file is flushed before the rename, its folder after it."""
    sweep(0, 0, 0, 1)
    saves, dirty, renamed = 0, set(), None
    for line in (tmp_path / "log.txt").read_text().splitlines():
        what, _, path = line.partition(" ")
        if "/checkpoints" not in path:
            continue
        if renamed is not None:
            assert (what, path) == ("fsync", str(tmp_path / "run" / "checkpoints"))
            renamed = None
        elif what == "write":
            dirty.add(path)
        elif what == "fsync":
            # safetensors writes a file of another name and renames it by a call of its own
            dirty = {p for p in dirty if p != path and "/.tmp" not in p}
        elif what == "rename" and "-> " in path and Path(path.split("-> ")[1]).name[:5] == "step-":
            assert dirty == set()
            saves, renamed = saves + 1, path
    assert saves >= 4
    says(f"{saves} saves: every file is flushed before the folder gets its name, its parent after")


def quota(bench: Bench, size: str) -> list[str]:
    """The beginning of a command line to which a small file system stands at the run folder."""
    bench.run_folder.mkdir()
    mount = f'mount -t tmpfs -o size={size} tmpfs {bench.run_folder} && exec "$@"'
    before = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]
    tried = (
        subprocess.run([*before, "true"], capture_output=True) if shutil.which("unshare") else None
    )
    if tried is None or tried.returncode:
        pytest.skip("no small file system may be mounted here")
    return before


@case(77, what="a run folder on a disk of 256 kB", answer=ANSWERED)
def test_a_small_disk(bench: Bench, says) -> None:
    bench.set(train={"max_steps": 8, "save_steps": 1, "save_total_limit": 8})
    said = ended(bench.start(before=quota(bench, "256k"))).refused("No space left on device")
    assert str(bench.run_folder) in said
    says(said)


@case(89, what="a run folder that may not be written", answer=ANSWERED)
def test_a_folder_that_may_not_be_written(bench: Bench, says) -> None:
    before = quota(bench, "1m")
    before[6] = before[6].replace("&& exec", f"&& mount -o remount,ro {bench.run_folder} && exec")
    says(ended(bench.start(before=before)).refused(f"{bench.run_folder}: cannot be written"))


DAMAGES = {
    79: ("bits flipped in a checkpoint", "flip", ("weights", "optimizer")),
    80: ("a checkpoint cut short", "cut", ("weights", "optimizer")),
    81: ("the optimizer's file missing", "gone", ("optimizer",)),
    82: ("state or weights missing", "gone", ("weights", "state")),
}


@pytest.mark.parametrize(
    ("fault", "names"),
    [
        pytest.param(fault, names, marks=case(n, what=what, answer=SAME), id=what)
        for n, (what, fault, names) in DAMAGES.items()
    ],
)
def test_a_damaged_checkpoint_is_passed_over(bench: Bench, says, fault: str, names) -> None:
    bench.set(train=SAVES)
    bench.train().done()
    calm = (bench.run_folder / "model" / "model.safetensors").read_bytes(), bench.metrics
    newest = sorted((bench.run_folder / "checkpoints").glob("step-*"))[-1]
    for name in names:
        (path,) = newest.glob(f"{name}.*")
        content = path.read_bytes()
        if fault == "flip":
            path.write_bytes(content[:-9] + bytes([content[-9] ^ 4]) + content[-8:])
        elif fault == "cut":
            path.write_bytes(content[: len(content) // 2])
        else:
            path.unlink()
        said = bench.train("--resume").done().err
        told = [line for line in said.splitlines() if path.name in line]
        assert told, said
        after = (bench.run_folder / "model" / "model.safetensors").read_bytes(), bench.metrics
        assert after == calm
    says(told[0])


@case(82, what="an empty folder named as a newer checkpoint", answer=SAME)
def test_an_empty_newer_folder(bench: Bench, says) -> None:
    bench.set(train=SAVES)
    bench.train().done()
    calm = bench.metrics
    (bench.run_folder / "checkpoints" / "step-00000009").mkdir()
    said = bench.train("--resume").done().err
    (told,) = [line for line in said.splitlines() if "step-00000009" in line]
    assert bench.metrics == calm
    says(told)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        pytest.param(lambda t: t.pop(min(t)), "sha256",
                     marks=case(83, what="a tensor missing in a checkpoint", answer=ANSWERED)),
        pytest.param(lambda t: t[min(t)].view(-1)[:1].fill_(float("nan")), "sha256",
                     marks=case(83, what="nan in a checkpoint", answer=ANSWERED)),
    ],
)  # fmt: skip
def test_a_checkpoint_that_was_edited(bench: Bench, says, change, word: str) -> None:
    bench.train().done()
    (checkpoint,) = (bench.run_folder / "checkpoints").glob("step-*")
    tensors = load_file(checkpoint / "weights.safetensors")
    change(tensors)
    save_file({k: v.clone() for k, v in tensors.items()}, checkpoint / "weights.safetensors")
    says(bench.train("--resume").refused("every checkpoint is damaged", "weights.saf", word))


@case(83, what="nan in a checkpoint whose hashes are right", answer=ANSWERED)
def test_nan_with_the_right_hash(bench: Bench, says) -> None:
    from luce.files import sha256_file

    bench.train().done()
    (checkpoint,) = (bench.run_folder / "checkpoints").glob("step-*")
    for change in ("nan", "gone"):
        tensors = load_file(checkpoint / "weights.safetensors")
        name = min(tensors)
        if change == "nan":
            tensors[name] = torch.full_like(tensors[name], float("nan"))
        else:
            tensors.pop(name)
        save_file(tensors, checkpoint / "weights.safetensors")
        manifest = json.loads((checkpoint / "manifest.json").read_text())
        manifest["sha256"]["weights.safetensors"] = sha256_file(checkpoint / "weights.safetensors")
        (checkpoint / "manifest.json").write_text(json.dumps(manifest))
        said = bench.train("--resume").refused(name.removeprefix("weights."))
        if change == "nan":
            says(said)
