"""Configurations that are code, secrets, the network, stale caches, and the same bits again."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from fault_bench import ANSWERED, SAME, Bench, case, pairs, spoiled, turn

CANARY = "canary-secret-3f9d1c"


def raw(bench: Bench, **replaced: str) -> str:
    """The recipe's text with some JSON values put in as they are written here."""
    text = bench.write().read_text()
    for key, value in replaced.items():
        bench.recipe.setdefault(key, None)
        before = json.dumps(bench.recipe[key])
        text = text.replace(f'"{key}": {before}', f'"{key}": {value}')
    (bench.folder / "recipe.yaml").write_text(text)
    return str(bench.folder / "recipe.yaml")


@case(122, what="a recipe that asks YAML for a Python object", answer=ANSWERED)
def test_yaml_that_is_code(bench: Bench, says) -> None:
    marker = bench.folder / "ran"
    for tag in ("!!python/object/apply:os.system", "!!python/name:os.system", "!include"):
        path = raw(bench, name=f"{tag} ['touch {marker}']")
        said = bench.ask(["train", path]).refused("recipe.yaml:1")
        assert not marker.exists()
    says(said)


@case(122, what="a recipe with ${…} and __import__ in it", answer=ANSWERED)
def test_configuration_is_plain_data(bench: Bench, says, monkeypatch) -> None:
    monkeypatch.setenv("SECRET", CANARY)
    bench.set(data={"path": "${SECRET}.jsonl"})
    said = bench.train().refused("${SECRET}.jsonl: no such file")
    assert CANARY not in said
    bench.set(data={"path": str(bench.data)}, objective={"dpo": {"beta": "__import__('os')"}})
    bench.train().refused("objective.dpo.beta")
    bench.set(objective={"dpo": {"beta": "1e-1 + 1"}})
    bench.train().refused("objective.dpo.beta")
    says(said)


@case(122, what="a key that no recipe has", answer=ANSWERED)
def test_an_unknown_key(bench: Bench, says) -> None:
    bench.set(train={"learning_rte": 1e-6})
    says(bench.train().refused("learning_rte", "learning_rate", "recipe.yaml:1"))


@case(123, what="keys in the environment of a run that ends, and of one that fails", answer=SAME)
def test_secrets_are_nowhere(bench: Bench, says, monkeypatch) -> None:
    for name in ("HF_TOKEN", "OPENAI_API_KEY", "WANDB_API_KEY", "JUDGE_KEY"):
        monkeypatch.setenv(name, CANARY)
    bench.set(data={"eval": 0.5})
    told = [bench.train().done(), bench.ask(["report", str(bench.run_folder)]).done()]
    bench.set(output_dir=str(bench.folder / "second"), reference="no/such/model")
    told.append(bench.train("--debug"))
    assert told[-1].code == 2
    shown = "".join(each.out + each.err for each in told)
    files = [path for path in bench.folder.rglob("*") if path.is_file()]
    assert CANARY not in shown and len(files) > 20
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []
    says(f"in none of {len(files)} files, in no line and no traceback")


def left(bench: Bench) -> tuple[bytes, str]:
    weights = (bench.run_folder / "model" / "model.safetensors").read_bytes()
    return weights, (bench.run_folder / "metrics.jsonl").read_text()


@case(124, what="the same seed again", answer=SAME)
def test_the_same_bits(bench: Bench, says) -> None:
    found = []
    for number in range(2):
        bench.set(output_dir=str(bench.folder / f"run{number}"), data={"eval": 0.5})
        bench.set(train={"max_steps": 4})
        bench.train().done()
        found.append(left(bench))
    assert found[0] == found[1]
    says("the same weights and metrics, byte for byte")


@case(124, what="the same seed on two threads in place of one", answer=SAME)
def test_another_number_of_threads(bench: Bench, says) -> None:
    """A product of matrices adds up in another order on two threads: equal up to rounding."""
    found, threads = [], torch.get_num_threads()
    bench.set(train={"max_steps": 4})
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            bench.set(output_dir=str(bench.folder / f"run{count}"))
            bench.train().done()
            found.append([record["loss"] for record in bench.metrics])
    finally:
        torch.set_num_threads(threads)
    off = max(abs(a - b) for a, b in zip(*found, strict=True))
    assert off < 1e-6
    manifest = json.loads((bench.run_folder / "manifest.json").read_text())
    assert manifest["machine"]["threads"] == 2
    says("the same losses up to rounding (1e-6); the manifest has the number of threads")


@case(125, what="a machine without a network", answer=SAME)
def test_nothing_is_looked_up(bench: Bench, says, monkeypatch) -> None:
    asked: list[Any] = []

    def refuse(*given: Any, **named: Any) -> Any:
        asked.append(given)
        raise OSError("no network here")

    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    bench.check()
    bench.train().done()
    bench.ask(["report", str(bench.run_folder)]).done()
    assert asked == []
    says("0 look-ups by check, train and report")


CHANGES: dict[str, dict[str, Any]] = {
    "render": {"data": {"render": "plain"}},
    "max_length": {"data": {"max_length": 40, "truncation": "left_prompt"}},
    "turns": {"data": {"score_turns": "last"}},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@case(126, what="a cache of the reference under another template, length or choice of turns",
      answer=SAME)  # fmt: skip
def test_a_stale_cache_is_not_believed(bench: Bench, says, change) -> None:
    rows = [{"id": f"r{i}", "prompt": "word " * (i + 6), "chosen": f"good {i}", "rejected": "bad"}
            for i in range(8)]  # fmt: skip
    bench.put(rows)
    bench.set(train={"max_steps": 2})
    bench.train().done()
    kept = bench.run_folder / "reference"
    bench.set(**change)
    second = bench.folder / "second"
    second.mkdir()
    shutil.copytree(kept, second / "reference")
    bench.set(output_dir=str(second))
    bench.train().done()
    with_cache = left(bench)
    bench.set(output_dir=str(bench.folder / "third"))
    bench.train().done()
    assert with_cache == left(bench)
    says("what is kept is kept by tokens and weights: the same bits as without the cache")


@case(126, what="a cache of another reference", answer=ANSWERED)
def test_the_cache_of_another_reference(bench: Bench, says) -> None:
    from safetensors.torch import load_file, save_file

    bench.train().done()
    second = bench.folder / "second"
    second.mkdir()
    shutil.copytree(bench.run_folder / "reference", second / "reference")
    tensors = load_file(bench.model / "model.safetensors")
    tensors["model.norm.weight"] += 0.5
    save_file(tensors, bench.model / "model.safetensors", {"format": "pt"})
    bench.set(output_dir=str(second))
    says(bench.train().refused("second/reference: holds log-probabilities of reference"))


CHILD = """
import contextlib, io, json, sys
from luce.cli.main import run
found = []
for arguments in json.load(sys.stdin):
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
        code = run(arguments)
    found.append([code, told.getvalue().rpartition("luce: ")[2]])
print(json.dumps(found))
"""


@pytest.mark.slow
@case(127, what="python -O, which leaves assertions out", answer=SAME)
def test_without_assertions(bench: Bench, says) -> None:
    asked, spoils = [], {
        "empty": spoiled(6, chosen=[]),
        "role": spoiled(6, chosen=[turn("assistent", "x")]),
        "id": spoiled(6, id="r2"),
        "same": [{**row, "rejected": row["chosen"]} for row in pairs()],
    }  # fmt: skip
    path = str(bench.write())
    for name, rows in spoils.items():
        data = bench.folder / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        asked.append(["train", path, f"data.path={data}"])
    asked.append(["train", path, "objective.dpo.beta=-1"])
    asked.append(["train", path, "reference=none"])
    asked.append(["train", path, "train.batch_size=0"])
    weights = Path(shutil.copytree(bench.model, bench.folder / "pickled"))
    (weights / "model.safetensors").rename(weights / "pytorch_model.bin")
    asked.append(["train", path, f"model.path={weights}"])
    done = subprocess.run(
        [sys.executable, "-O", "-c", CHILD], input=json.dumps(asked), text=True,
        capture_output=True, cwd=bench.folder, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    without = json.loads(done.stdout)
    ours = [bench.ask(arguments) for arguments in asked]
    assert [code for code, _ in without] == [2] * len(asked)
    assert [said for _, said in without] == [each.err.rpartition("luce: ")[2] for each in ours]
    says(f"the same {len(asked)} refusals, word for word")
