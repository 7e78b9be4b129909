"""Rounds sampled by a server: as whole, as resumable and as traceable as in one process."""

import json
import math
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from safetensors.torch import load_file

from luce.errors import LuceError, ModelError, RecipeError
from luce.files import read_jsonl
from luce.models import engine_dialects, engine_http
from luce.models.export import save_model
from luce.models.policy import load_policy
from luce.recipe.load import load_recipe
from luce.recipe.online import online_run
from luce.recipe.online_command import arithmetic
from luce.recipe.online_engine import importance_weights, row_weight
from luce.recipe.online_loop import check_online, open_loop
from luce.recipe.online_stages import run_stage, sample_block, sampler_gap
from luce.recipe.online_train import train_round

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
from served import Served  # noqa: E402

MINE = """
def brevity(prompt, responses):
    return [-float(len(r)) for r in responses]
"""


@pytest.fixture
def served():
    open_ones = []

    def start(*args, **keywords):
        open_ones.append(Served(*args, **keywords))
        return open_ones[-1]

    yield start
    for one in open_ones:
        if one.thread.is_alive():
            one.close()


@pytest.fixture
def online(recipe, tmp_path, monkeypatch) -> dict:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine_dialects, "POLL_S", 0.02)
    monkeypatch.setattr(engine_http, "LONGEST_WAIT_S", 0.02)
    monkeypatch.delitem(sys.modules, "served_judges", raising=False)
    Path("served_judges.py").write_text(MINE)
    recipe["data"] = {"path": recipe["data"]["path"], "eval": 0.2, "max_length": 128}
    recipe["train"] |= {"max_steps": 2, "batch_size": 4}
    recipe["evaluate"]["sample_prompts"] = 0
    recipe["online"] = {
        "rounds": 2, "n": 3, "prompts_per_round": 8, "annotator": "served_judges:brevity",
        "max_new_tokens": 6, "block": 3,
    }  # fmt: skip
    return recipe


def through(online: dict, server: Served, **more) -> dict:
    engine = {"kind": server.kind, "base_url": server.url, "retries": 5, "wait_s": 60.0} | more
    return online | {"online": online["online"] | {"engine": engine}}


def moved_copy(source: Path, target: Path, factor: float) -> Path:
    policy = load_policy(str(source))
    for parameter in policy.module.parameters():
        parameter.data.mul_(factor)
    return save_model(policy, target) or target


def rounds(folder: Path) -> dict[str, bytes]:
    names = [f"rounds/{k}/{name}.jsonl" for k in ("001", "002") for name in ("samples", "pairs")]
    return {name: (folder / name).read_bytes() for name in names}


def test_a_server_that_fails_and_dies_loses_nothing_and_doubles_nothing(
    online, served, tiny_model_dir, tmp_path
):
    calm = online_run(through(online, served("sglang", tiny_model_dir)))
    lines = read_jsonl(calm / "rounds.jsonl")
    first = json.loads((calm / "manifest.json").read_text())["identity"]["model (weights)"]
    versions = [first, lines[0]["policy"]["hash"]]
    for number, version in enumerate(versions, 1):
        rows = read_jsonl(calm / f"rounds/{number:03d}/samples.jsonl")
        assert {row["policy"] for row in rows} == {version}
        assert [len(row["samples"]) for row in rows] == [3] * 8
        assert not any("policy" in s or "weight" in s for row in rows for s in row["samples"])
        # the server's log-probabilities are the trainer's, of this round's weights
        assert lines[number - 1]["sampler_gap"]["max"] < 1e-4
        assert "stale" not in lines[number - 1]["sampler_gap"]
    server = served("sglang", tiny_model_dir)
    # each of the five is asked again; the third prompt of the second of three blocks is the last
    server.faults = [500, "cut", 503, "abort", 429] + [None] * 5 + ["die"]
    doomed = online | {"output_dir": str(tmp_path / "doomed")}
    with pytest.raises(ModelError, match="kept: see to the server, and go on with --resume"):
        online_run(through(doomed, server))
    inner = tmp_path / "doomed" / "rounds" / "001" / "samples"
    assert [p.name for p in inner.glob("block-*.jsonl")] == ["block-000000.jsonl"]
    # another server, elsewhere: how the work is done may change
    other = served("sglang", tiny_model_dir)
    other.faults = [None] * 9 + ["cut", 500, 500]
    folder = online_run(through(doomed, other), resume=True)
    assert rounds(folder) == rounds(calm)
    asked = [p for path, p in other.asked if path == "/generate"]
    assert len(asked) == 5 + 8  # no prompt of the first block
    for number in ("001", "002"):
        numbers = [row["prompt"] for row in read_jsonl(folder / f"rounds/{number}/samples.jsonl")]
        assert len(numbers) == len(set(numbers)) == 8


def test_vllm_is_waited_for_in_every_round(online, served, tiny_model_dir, tmp_path):
    server = served("vllm", tiny_model_dir)
    folder = Path(online["output_dir"])
    inner = folder / "rounds" / "001" / "train"

    def restart():  # what a loop in a shell does
        while not (inner / "README.md").exists() or not (folder / "rounds.jsonl").exists():
            time.sleep(0.01)
        server.model = server.name = str(inner / "model")

    helper = threading.Thread(target=restart, daemon=True)
    helper.start()
    assert online_run(through(online, server)) == folder
    helper.join()
    lines = read_jsonl(folder / "rounds.jsonl")
    assert all(line["sampler_gap"]["max"] < 1e-4 for line in lines)
    rows = read_jsonl(folder / "rounds/002/samples.jsonl")
    assert {row["policy"] for row in rows} == {lines[0]["policy"]["hash"]}


def first_stage(recipe: dict, folder: Path):
    resolved = load_recipe(recipe)
    check_online(resolved)
    return open_loop(resolved, folder, Console(quiet=True)).stage(1)


def test_stale_samples_are_refused_or_weighted(online, served, tiny_model_dir, tmp_path):
    other = moved_copy(tiny_model_dir, tmp_path / "other", 0.95)
    server = served("vllm", other)
    with pytest.raises(ModelError, match=f"serves {other}, not {tiny_model_dir}: start vLLM again"):
        stage = first_stage(through(online, server, wait_s=0.0), tmp_path / "refused")
        run_stage(stage, "samples", sample_block)
    given = through(online, server, stale="weight", max_weight=1.5)
    stage = first_stage(given, tmp_path / "weighted")
    rows = read_jsonl(run_stage(stage, "samples", sample_block))
    policy, version = stage.loaded
    ours, theirs = policy, load_policy(str(other))
    weights = []
    by_number = {p.number: p for p in stage.prompts}
    for row in rows:
        assert row["policy"] == version
        for sample in row["samples"]:
            assert sample["policy"] == str(other)
            prompt = by_number[row["prompt"]].ids
            ratio = log_prob(ours, prompt, sample["ids"]) - log_prob(theirs, prompt, sample["ids"])
            assert sample["weight"] == pytest.approx(min(1.5, math.exp(ratio)), rel=1e-3)
            weights.append(sample["weight"])
    assert max(weights) == 1.5 and min(weights) < 1  # some are cut off, some count less
    gap = sampler_gap(stage, rows)
    assert gap["stale"] == 24 and gap["mean"] > 1e-3


def log_prob(policy, prompt, ids):
    import torch

    with torch.no_grad(), policy.plain_attention():
        logs = policy.inner(torch.tensor([[*prompt, *ids]])).logits.float().log_softmax(-1)[0]
    return sum(logs[len(prompt) - 1 + t, token].item() for t, token in enumerate(ids))


def test_importance_weights_make_the_other_policys_samples_count_as_ones_own(
    tiny_model_dir, tmp_path
):
    """Σ w f / n over samples of μ is E_π f; f is of the first token, so that E_π f is a sum."""
    from luce.models.engine import SamplingSettings, generate

    theirs = load_policy(str(moved_copy(tiny_model_dir, tmp_path / "m", 0.9)))
    ours = load_policy(str(tiny_model_dir))
    prompt = [5, 6, 7]
    settings = SamplingSettings(max_new_tokens=1)
    drawn = generate(theirs, [prompt], 4000, settings, seed=0, stop_ids=[1])[0]
    weights = importance_weights(
        ours, [(prompt, s.ids, s.log_probs) for s in drawn], 8192, longest=1e6
    )
    exact, biased = (
        [math.exp(log_prob(policy, prompt, [t])) for t in range(policy.inner.config.vocab_size)]
        for policy in (ours, theirs)
    )
    likelier = {t for t, (p, q) in enumerate(zip(exact, biased, strict=True)) if p > q}
    values = np.asarray([w * (s.ids[0] in likelier) for w, s in zip(weights, drawn, strict=True)])
    exact, biased = (sum(p[t] for t in likelier) for p in (exact, biased))
    error = values.std() / math.sqrt(len(values))
    assert abs(values.mean() - exact) < 4 * error < abs(biased - exact)
    assert importance_weights(ours, [], 8192, longest=1.0) == []


def test_rows_of_stale_samples_count_by_their_weights(online, served, tiny_model_dir, tmp_path):
    server = served("vllm", moved_copy(tiny_model_dir, tmp_path / "other", 0.97))
    online["online"]["rounds"] = 1
    folder = online_run(through(online, server, stale="weight"))
    samples = {r["prompt"]: r["samples"] for r in read_jsonl(folder / "rounds/001/samples.jsonl")}
    found = set()
    for row in read_jsonl(folder / "rounds/001/pairs.jsonl"):
        own = {tuple(s["ids"]): s["weight"] for s in samples[int(row["id"].partition("-")[2])]}
        chosen, rejected = (own[tuple(row["token_ids"][side])] for side in ("chosen", "rejected"))
        assert row.get("weight", 1.0) == pytest.approx(min(2.0, chosen * rejected))
        found.add(row.get("weight"))
    assert len(found) > 2
    assert read_jsonl(folder / "rounds.jsonl")[0]["sampler_gap"]["stale"] == 24


def test_what_a_row_of_stale_samples_counts():
    assert row_weight([{"weight": 0.5}, {"weight": 1.5}], 2.0) == 0.75
    assert row_weight([{"weight": 1.9}, {"weight": 1.9}], 2.0) == 2.0
    assert row_weight([{"weight": 0.25}, {}], 2.0) == 0.25
    assert row_weight([{}, {}], 0.5) == 1.0
    assert row_weight([{"weight": 1e-200}, {"weight": 1e-200}], 2.0) == 1e-30  # not 0


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"engine": {"kind": "vllm"}}, "engine.base_url: missing"),
        ({"engine": {"base_url": "http://h:1"}}, "drawn in this process.*kind: vllm"),
        ({"engine": {"stale": "weight"}}, "engine.stale: samples are drawn in this process"),
        (
            {"engine": {"kind": "vllm", "base_url": "http://h:1", "max_weight": 3.0}},
            "max_weight: no weights",
        ),
        (
            {
                "engine": {"kind": "vllm", "base_url": "http://h:1", "stale": "weight"},
                "temperature": 0.7,
            },
            "at temperature 1 and top_p 1",
        ),
        ({"ray": {"concurrency": 2}}, "ray.concurrency: nothing is shared by Ray"),
    ],
)
def test_keys_that_do_not_go_together(online, more, match):
    online["online"] |= more
    with pytest.raises(RecipeError, match=match):
        check_online(load_recipe(online))


def test_a_dry_run_says_by_whom(online):
    online["online"] |= {
        "engine": {"kind": "vllm", "base_url": "http://h:1"}, "scale": "ray",
        "ray": {"concurrency": 2}, "train_command": "torchrun -m luce train",
    }  # fmt: skip
    said = "\n".join(arithmetic(load_recipe(online)))
    assert "sampled by: vllm at http://h:1, no stale ones" in said
    assert "shared by: Ray, 2 actors of 1 CPUs and 0 GPUs" in said
    assert "trained by: torchrun" in said


def round_of(recipe: dict, folder: Path):
    """A recipe as a round of training has it."""
    tree = {k: v for k, v in recipe.items() if k != "online"}
    tree["output_dir"] = str(folder / "train")
    return load_recipe(tree)


@pytest.mark.slow
def test_a_round_trained_by_torchrun_has_the_weights_of_one_process(online, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    online["train"] |= {"max_steps": 3, "batch_size": 4, "learning_rate": 2e-4}
    quiet = Console(quiet=True)
    one = train_round(round_of(online, tmp_path / "one"), None, resume=False, console=quiet)
    command = f"{sys.executable} -m torch.distributed.run --standalone --nproc-per-node 2"
    two = train_round(
        round_of(online, tmp_path / "two"), f"{command} -m luce train", resume=False, console=quiet
    )
    assert two == tmp_path / "two" / "train"
    assert (tmp_path / "two" / "train.yaml").exists()
    ours, theirs = (load_file(folder / "model" / "model.safetensors") for folder in (one, two))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert (value - theirs[name]).abs().max() < 1e-6, name
    assert json.loads((two / "manifest.json").read_text())["status"] == "finished"
    # it moved at all
    begun = load_file(Path(online["model"]["path"]) / "model.safetensors")
    assert max((begun[name] - value).abs().max() for name, value in ours.items()) > 1e-5


@pytest.mark.slow
def test_rounds_are_trained_by_the_command(online, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    online["train"]["learning_rate"] = 2e-4
    one = online_run(online)
    command = f"{sys.executable} -m torch.distributed.run --standalone --nproc-per-node 2"
    given = online["online"] | {"train_command": f"{command} -m luce train"}
    two = online_run(online | {"output_dir": str(tmp_path / "two"), "online": given})
    # the second round begins where the first ended, and Adam divides by gradients near 0
    for number, tolerance in (("001", 1e-6), ("002", 2e-5)):
        inner = f"rounds/{number}/train/model/model.safetensors"
        ours, theirs = load_file(one / inner), load_file(two / inner)
        assert max((ours[name] - theirs[name]).abs().max() for name in ours) < tolerance
        assert (two / f"rounds/{number}/train.yaml").exists()


def test_a_training_command_that_fails(online, tmp_path, capfd):
    given = round_of(online, tmp_path / "a")
    quiet = Console(quiet=True)
    with pytest.raises(LuceError, match="train_command: no-such-program: No such file"):
        train_round(given, "no-such-program", resume=False, console=quiet)
    Path(given.recipe.output_dir).mkdir(parents=True)
    (Path(given.recipe.output_dir) / "manifest.json").write_text('{"status": "failed"}')
    failing = f"{sys.executable} -c 'import sys; print(sys.argv[1:]); sys.exit(3)'"
    with pytest.raises(LuceError, match="ended with 3.*--resume"):
        train_round(given, failing, resume=True, console=quiet)
    assert "train.yaml', '--resume']" in capfd.readouterr().out
    with pytest.raises(LuceError, match="ended with 0, and the run in .* is not finished"):
        train_round(given, f"{sys.executable} -c pass", resume=False, console=quiet)


@pytest.mark.slow
def test_workers_share_a_server(online, served, tiny_model_dir, tmp_path):
    """A leader and a helper in processes of their own ask one server; no prompt is lost."""
    server = served("sglang", tiny_model_dir)
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(through(online, server)))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def start(*more):
        return subprocess.Popen(
            [sys.executable, "-m", "luce", "online", str(path), *more], env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    leader = start()
    while not (Path(online["output_dir"]) / "manifest.json").exists():
        assert leader.poll() is None, leader.communicate()[0].decode()
        time.sleep(0.01)
    helper = start("--worker")
    for process in (leader, helper):
        said, _ = process.communicate(timeout=200)
        assert process.returncode == 0, said.decode()
    alone = online_run(through(online, served("sglang", tiny_model_dir))
                       | {"output_dir": str(tmp_path / "alone")})  # fmt: skip
    assert rounds(Path(online["output_dir"])) == rounds(alone)
