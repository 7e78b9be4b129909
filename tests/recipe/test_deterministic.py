"""`train.deterministic`: what it sets and puts back, what it refuses, and that it changes no bit on
a CPU, whose kernels add in one order anyway."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest
import torch

from luce.cli.main import run
from luce.errors import LuceError
from luce.models.attention.hook import choose
from luce.models.attention.row import SharedRow, Variant
from luce.objectives import Objective
from luce.recipe.deterministic import VARIABLE, determinism_notes, deterministic
from luce.recipe.load import load_recipe
from luce.recipe.run import train_run
from luce.types import Span


@pytest.fixture(autouse=True)
def variable(monkeypatch):
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.delenv(VARIABLE)


@pytest.fixture
def asked(recipe):
    recipe["train"] |= {"deterministic": True, "max_steps": 3}
    return recipe


@pytest.fixture
def gpu(monkeypatch):
    """As if there were one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))


def flags() -> tuple[bool, ...]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
    )


def test_flags_are_set_and_put_back_also_after_an_error(asked):
    before = flags()
    plan = load_recipe(asked).recipe
    with pytest.raises(ZeroDivisionError), deterministic(plan):
        assert flags() == (True, True, False)
        assert os.environ[VARIABLE] == ":4096:8"
        with deterministic(plan):  # a round of an online run
            pass
        assert flags() == (True, True, False)
        raise ZeroDivisionError
    assert flags() == before == (False, False, False)


def test_nothing_is_set_where_it_is_not_asked_for(recipe):
    plan = load_recipe(recipe).recipe
    with deterministic(plan):
        assert not any(flags()) and VARIABLE not in os.environ
    assert determinism_notes(plan) == []


def test_cublas_must_not_have_started_without_a_workspace(asked, monkeypatch):
    plan = load_recipe(asked).recipe
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(LuceError, match="is not set, and the GPU is in use. Start Python with CUB"):
        deterministic(plan).__enter__()
    monkeypatch.setenv(VARIABLE, ":0:0")
    with pytest.raises(LuceError, match="CUBLAS_WORKSPACE_CONFIG is ':0:0'"):
        deterministic(plan).__enter__()
    monkeypatch.setenv(VARIABLE, ":16:8")
    with deterministic(plan):
        assert os.environ[VARIABLE] == ":16:8"


def test_compiled_attention_is_left_out_on_a_gpu_in_every_thread(asked, gpu):
    plan, spans = load_recipe(asked).recipe, (Span(start=0, prompt=4, branches=(5000, 5000)),)

    def kernels(row: SharedRow) -> list[str]:
        types, cuda = (torch.bfloat16, torch.float32), torch.device("cuda")
        return [choose(cuda, dtype, (64, 64), row, Variant()) for dtype in types]

    assert kernels(SharedRow(spans))[0] == "flex"
    with deterministic(plan), ThreadPoolExecutor(1) as pool:
        assert kernels(SharedRow(spans)) == ["varlen", "exact"]
        there = pool.submit(copy_context().run, SharedRow, spans).result()
        assert kernels(there) == ["varlen", "exact"]
    assert "not by `flex`" in determinism_notes(plan)[0]


def test_an_op_without_a_deterministic_kernel_is_named(asked, tmp_path, monkeypatch, capsys):
    """`put_` has none, on a CPU either."""
    plain = Objective.__call__

    def planted(self, batch):
        torch.zeros(2).put_(torch.tensor([0, 1]), torch.tensor([1.0, 2.0]))
        return plain(self, batch)

    monkeypatch.setattr(Objective, "__call__", planted)
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(asked))
    assert run(["train", str(path)]) == 2
    said = capsys.readouterr().err
    assert "luce: recipe.train.deterministic: torch" in said
    assert "no deterministic kernel of put_ here. Leave the key out, train on a CPU, or" in said
    assert not any(flags())
    found = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert found["status"] == "failed" and "put_" in found["error"]
    assert run(["train", str(path), "train.deterministic=false", f"output_dir={tmp_path}/b"]) == 0


def test_only_what_torch_refuses_is_reworded(asked):
    torchs = "put_ does not have a deterministic implementation, but you set …"
    with pytest.raises(LuceError, match="no deterministic kernel of put_ here"):
        with deterministic(load_recipe(asked).recipe):
            raise RuntimeError(torchs)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        with deterministic(load_recipe(asked).recipe):
            raise RuntimeError("shapes do not fit")


@pytest.mark.slow
def test_on_a_cpu_the_bits_are_those_without_it(asked, tmp_path):
    """Which also says that no memory is read before it is written: torch fills it with nan."""
    found = []
    for name, on in (("with", True), ("again", True), ("without", False)):
        asked["train"]["deterministic"] = on
        folder = train_run({**asked, "output_dir": str(tmp_path / name)})
        machine = json.loads((folder / "manifest.json").read_text())["machine"]
        assert machine["deterministic"] is on
        files = ("model/model.safetensors", "metrics.jsonl", "samples.jsonl")
        found.append([(folder / file).read_bytes() for file in files])
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("verb", ["train", "online"])
def test_the_flag_is_the_key(recipe, tmp_path, monkeypatch, capsys, verb):
    if verb == "online":
        (tmp_path / "judge_len.py").write_text(
            "def short(prompt, responses):\n    return [-float(len(r)) for r in responses]\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        recipe["online"] = {"rounds": 1, "annotator": "judge_len:short", "max_new_tokens": 4}
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    for more, value in ((["--deterministic"], "true"), ([], "false")):
        assert run([verb, str(path), *more, "--dry-run"]) == 0
        assert f"\n  deterministic: {value} " in capsys.readouterr().out.replace("#", " #")
