"""Rounds of sample, judge, select and train: what they leave, and that a kill changes nothing."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from luce.annotate.scorers import graded
from luce.data.pack import pack
from luce.data.template import Renderer
from luce.errors import LuceError, RecipeError
from luce.files import read_jsonl
from luce.models.policy import load_policy
from luce.models.reward import load_reward_model
from luce.recipe.online import online_run
from luce.recipe.run import train_run
from luce.report import write_report

MINE = """
asked = []

def brevity(prompt, responses):
    asked.append(len(responses))
    return [-float(len(r)) for r in responses]

def compare(comparisons):
    asked.append(len(comparisons))
    return [0.5 if len(c.a) == len(c.b) else float(len(c.a) < len(c.b)) for c in comparisons]

def constant(prompt, responses):
    return [1.0 for _ in responses]
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("online_judges.py").write_text(MINE)
    monkeypatch.delitem(sys.modules, "online_judges", raising=False)
    return "online_judges:brevity"


@pytest.fixture
def online(recipe, mine, tmp_path) -> dict:
    """A recipe of two short rounds."""
    recipe["data"] = {"path": recipe["data"]["path"], "eval": 0.2, "max_length": 128}
    recipe["train"] |= {"max_steps": 3, "batch_size": 4}
    recipe["online"] = {
        "rounds": 2, "n": 3, "prompts_per_round": 12, "annotator": mine, "max_new_tokens": 8,
        "block": 5,
    }  # fmt: skip
    return recipe


def ledger(folder):
    return read_jsonl(folder / "rounds.jsonl")


def everything(folder):
    """The files that must come out the same, by name."""
    names = ["rounds.jsonl", "prompts.jsonl", "evaluation.json"]
    for number in ("001", "002"):
        inner = ("samples", "verdicts", "pairs", "rows", "train", "answers")
        names += [f"rounds/{number}/{name}.jsonl" for name in inner]
        names += [f"rounds/{number}/train/model/model.safetensors"]
    return {name: (folder / name).read_bytes() for name in names}


def test_two_rounds(online):
    folder = online_run(online)
    lines = ledger(folder)
    assert [line["round"] for line in lines] == [1, 2]
    for number, line in enumerate(lines, 1):
        inner = folder / "rounds" / f"{number:03d}"
        samples, verdicts, pairs = (
            read_jsonl(inner / f"{name}.jsonl") for name in ("samples", "verdicts", "pairs")
        )
        assert line["prompts"] == len(samples) == len(verdicts) == 12
        assert line["samples"] == 36 == sum(len(row["samples"]) for row in samples)
        assert line["rows"] == len(pairs) == line["trained_rows"]
        assert line["rows"] + sum(line["no_row"].values()) == 12
        assert line["annotations"] == sum(len(v["rewards"]) for v in verdicts)
        assert {row["policy"] for row in samples} == {
            json.loads((folder / "manifest.json").read_text())["identity"]["model (weights)"]
            if number == 1 else lines[0]["policy"]["hash"]
        }  # fmt: skip
        # best against worst by the annotator: the shortest against the longest
        for row in pairs:
            texts = next(s for s in samples if f"{number}-{s['prompt']}" == row["id"])["samples"]
            lengths = [len(s["text"]) for s in texts if s["text"].strip()]
            assert (len(row["chosen"]), len(row["rejected"])) == (min(lengths), max(lengths))
        assert line["sampler_gap"]["mean"] < 1e-5
        assert line["tokens"]["shared"] < line["tokens"]["unshared"]
        assert line["kl"]["initial"]["n"] == line["evaluation"]["n"] == 4
    assert lines[1]["annotations_so_far"] == sum(line["annotations"] for line in lines)
    assert "previous" in lines[1]["kl"] and "previous" not in lines[0]["kl"]
    # the prompts of the second round are others, and none is held out
    seen = [{row["prompt"] for row in read_jsonl(folder / f"rounds/{n:03d}/samples.jsonl")}
            for n in (1, 2)]  # fmt: skip
    held = {r["number"] for r in read_jsonl(folder / "prompts.jsonl") if r["split"] == "held_out"}
    assert not seen[0] & seen[1] and not (seen[0] | seen[1]) & held
    report = (folder / "report.html").read_text()
    assert "After 2 rounds" in report and "Win rate over the policy it began as" in report
    (folder / "report.html").unlink()
    assert write_report(folder).read_text() == report
    assert (folder / "model" / "model.safetensors").read_bytes() == (
        folder / "rounds/002/train/model/model.safetensors"
    ).read_bytes()


@pytest.mark.slow
def test_a_run_that_was_cut_goes_on_to_the_same_end(online, tmp_path):
    whole = online_run(online | {"output_dir": str(tmp_path / "whole")})
    same = everything(whole)
    cuts = {
        "sampling": ["rounds.jsonl", "rounds/001", "rounds/002"],
        "judging": ["rounds/002/verdicts.jsonl", "rounds/002/pairs.jsonl", "rounds/002/train"],
        "selecting": ["rounds/002/pairs.jsonl", "rounds/002/train", "rounds/002/train.jsonl"],
        "training": ["rounds/002/train/model", "rounds/002/train/manifest.json"],
        "evaluating": ["rounds/002/answers.jsonl"],
        "finishing": ["model", "evaluation.json"],
    }
    for name, gone in cuts.items():
        cut = tmp_path / f"cut-{name}"
        shutil.copytree(whole, cut)
        for path in [*gone, "report.html"]:
            shutil.rmtree(cut / path) if (cut / path).is_dir() else (cut / path).unlink()
        if name not in ("finishing", "sampling"):
            first = (cut / "rounds.jsonl").read_text().splitlines(keepends=True)[0]
            (cut / "rounds.jsonl").write_text(first)
        online_run(online | {"output_dir": str(cut)}, resume=True)
        found = everything(cut)
        for path, content in same.items():
            given = found[path].replace(str(cut).encode(), str(whole).encode())
            assert given == content, (name, path)


def test_from_python_with_objects(recipe, tmp_path, tiny_model_dir):
    import luce

    def brevity(prompt, responses):
        return [-float(len(r)) for r in responses]

    def longer(comparisons):
        return [float(len(c.a) > len(c.b)) for c in comparisons]

    keywords = {
        "model": str(tiny_model_dir), "prompts": recipe["data"]["path"], "rounds": 1, "n": 2,
        "prompts_per_round": 6, "max_new_tokens": 6, "annotator": brevity, "gold": longer,
        "objective": luce.dpo(beta=0.2), "max_steps": 2, "batch_size": 4, "eval": 0.2,
        "output_dir": str(tmp_path / "py"), "name": "py",
    }  # fmt: skip
    folder = luce.online(**keywords)
    line = ledger(folder)[0]
    assert line["evaluation"]["annotator"]["reward"]["value"] < 0
    ours, gold = (
        line["evaluation"][role]["initial"]["win_rate"]["value"] for role in ("annotator", "gold")
    )
    assert ours + gold == pytest.approx(1.0, abs=0.51)  # opposite tastes but for ties
    assert "reward" not in line["evaluation"]["gold"]
    # the recipe of the run cannot name an object
    with pytest.raises(RecipeError, match="object in Python"):
        online_run(folder / "recipe.yaml", [f"output_dir={tmp_path / 'again'}"])
    with pytest.raises(RecipeError, match="luce.online: no keyword 'sampels'"):
        luce.online(**keywords, sampels=3)


def test_a_gold_that_turns_ends_the_run_and_the_best_round_is_taken(online, tmp_path, monkeypatch):
    """The annotator likes the policy better every round; the gold one but once."""
    told = {0: (0.0, 0.0), 1: (1.0, 0.9), 2: (2.0, 0.4), 3: (3.0, 0.1)}

    def graded(recipe, prompts, judges, ours, others):
        proxy, gold = told[int(ours.parent.name)]
        entry = {"low": proxy - 0.02, "high": proxy + 0.02, "n": 4, "value": proxy}
        turned = {"low": gold - 0.02, "high": gold + 0.02, "n": 4, "value": gold}
        return {"n": 4, "annotator": {"reward": entry}, "gold": {"reward": turned}}

    monkeypatch.setattr("luce.recipe.online.evaluation_of", graded)
    online["online"] |= {"rounds": 5, "gold": online["online"]["annotator"], "guard": "roll_back"}
    monkeypatch.setattr(
        "luce.recipe.online.distances",
        lambda *given: {"initial": {"value": float(given[3].parent.name), "low": 0.0, "high": 9.0}},
    )
    folder = online_run(online)
    lines = ledger(folder)
    assert [line["guard"]["action"] for line in lines] == ["continue", "continue", "roll_back"]
    assert lines[-1]["guard"]["keep"] == 1
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["model"] == {"round": 1, "hash": lines[0]["policy"]["hash"]}
    assert (folder / "model/model.safetensors").read_bytes() == (
        folder / "rounds/001/train/model/model.safetensors"
    ).read_bytes()
    assert "has turned" in (folder / "report.html").read_text()
    before = (folder / "rounds.jsonl").read_bytes()
    online_run(online, resume=True)  # it has ended, and stays so
    assert (folder / "rounds.jsonl").read_bytes() == before
    # told only, it goes on
    online["online"] |= {"guard": "tell", "rounds": 3}
    folder = online_run(online | {"output_dir": str(tmp_path / "told")})
    assert json.loads((folder / "manifest.json").read_text())["model"]["round"] == 3


@pytest.mark.parametrize("compares", [False, True], ids=["grades", "compares"])
def test_exploring_by_the_features_of_a_reward_model(online, tmp_path, compares):
    """The pair is the first sample with the one of which least is known, by hand; the second round
    knows what the first compared."""
    rm = tmp_path / "rm"
    judged = {k: v for k, v in online.items() if k != "online"} | {
        "name": "rm", "output_dir": str(rm), "objective": "bradley_terry",
        "model": online["model"] | {"kind": "reward"}, "evaluate": {"sample_prompts": 0},
    }  # fmt: skip
    train_run(judged)
    online["online"] |= {"select": "enhancer", "features": str(rm), "ridge": 2.0}
    if compares:
        online["online"]["annotator"] = "online_judges:compare"
    folder = online_run(online)
    model = load_reward_model(str(rm / "model"))
    renderer = Renderer(model.tokenizer)
    seen = 2.0 * np.eye(int(model.inner.config.hidden_size))
    for number in (1, 2):
        inner = folder / "rounds" / f"{number:03d}"
        texts = {r["prompt"]: r["samples"] for r in read_jsonl(inner / "samples.jsonl")}
        prompts = {r["number"]: r["prompt"] for r in read_jsonl(folder / "prompts.jsonl")}
        inverse, grown = np.linalg.inv(seen), seen.copy()
        for row in read_jsonl(inner / "verdicts.jsonl"):
            kept = [texts[row["prompt"]][j]["text"] for j in row["kept"]]
            group = graded(renderer, 0, prompts[row["prompt"]], kept)
            phi = model.features(pack([group], keep_last=True)).double().numpy()
            apart = phi - phi[0]
            widths = np.sqrt(np.einsum("nd,de,ne->n", apart, inverse, apart))
            assert row["widths"] == pytest.approx(widths, rel=1e-4, abs=1e-6)
            if compares:
                asked = [(i, j) for i, line in enumerate(row["beats"])
                         for j, p in enumerate(line) if p is not None and i < j]  # fmt: skip
                assert asked == [(0, 1 + int(np.argmax(row["widths"][1:])))]
        for row in read_jsonl(inner / "pairs.jsonl"):
            group = graded(renderer, 0, row["prompt"], [row["chosen"], row["rejected"]])
            phi = model.features(pack([group], keep_last=True)).double().numpy()
            grown += np.outer(phi[0] - phi[1], phi[0] - phi[1])
        seen = grown
    with pytest.raises(LuceError, match="no last layer"):
        online["online"]["features"] = None
        online_run(online | {"output_dir": str(tmp_path / "none")})


def test_rewards_that_are_no_numbers_are_refused_and_counted(online, tmp_path, monkeypatch):
    Path("broken_judge.py").write_text(
        "def broken(prompt, responses):\n"
        "    odd = [float('nan'), float('inf'), 1.0, 0.0]\n"
        "    return odd[: len(responses)]\n"
    )
    monkeypatch.delitem(sys.modules, "broken_judge", raising=False)
    online["online"] |= {"annotator": "broken_judge:broken", "n": 4, "rounds": 1}
    folder = online_run(online)
    line = ledger(folder)[0]
    whole = [v for v in read_jsonl(folder / "rounds/001/verdicts.jsonl") if len(v["rewards"]) == 4]
    assert line["left_out"]["reward_not_finite"] >= 2 * len(whole) > 0
    rows = read_jsonl(folder / "rounds/001/pairs.jsonl")
    assert len(rows) == len(whole)
    assert {(row["score_chosen"], row["score_rejected"]) for row in rows} == {(1.0, 0.0)}


@pytest.mark.parametrize("model", [{}, {"lora": {"r": 4, "alpha": 8.0}}], ids=["full", "lora"])
@pytest.mark.parametrize("opponent", ["reference", "mixture(0.5)"])
def test_duels_with_an_opponent(online, tiny_model_dir, opponent, model):
    """In the second round the policy has left its reference: the latter half of the samples has the
    opponent's log-probabilities, by hand."""
    online["online"] |= {"opponent": opponent, "select": "across", "n": 4, "prompts_per_round": 6}
    online["train"] |= {"learning_rate": 0.01}
    online["model"] |= model
    online |= {"reference": "initial", "objective": {"ipo": {"tau": 0.1}}}
    if opponent == "reference":
        online["objective"] = {"xpo": {"alpha": 0.01}}
    folder = online_run(online)
    policy = load_policy(str(folder / "rounds/001/train/model"))
    reference = load_policy(str(tiny_model_dir))
    renderer = Renderer(policy.tokenizer)
    prompts = {r["number"]: r["prompt"] for r in read_jsonl(folder / "prompts.jsonl")}
    share = 1.0 if opponent == "reference" else 0.5
    for row in read_jsonl(folder / "rounds/002/samples.jsonl"):
        assert ["of" in s for s in row["samples"]] == [False, False, True, True]
        head = renderer.prompt_ids(prompts[row["prompt"]])
        for sample in row["samples"]:
            ids = torch.tensor([[*head, *sample["ids"]]])
            with torch.no_grad(), policy.plain_attention(), reference.plain_attention():
                ours, theirs = (p.inner(ids).logits.float()[0] for p in (policy, reference))
            weight = share if "of" in sample else 0.0
            mixed = (1 - weight) * ours.log_softmax(-1) + weight * theirs.log_softmax(-1)
            told = mixed.log_softmax(-1)[len(head) - 1 : -1]
            expected = told.gather(1, ids[0, len(head) :, None])[:, 0]
            assert sample["log_probs"] == pytest.approx(expected.tolist(), abs=2e-4)
    rows = read_jsonl(folder / "rounds/002/pairs.jsonl")
    assert rows and all(("reference_sample" in row) == (share == 1.0) for row in rows)


def test_an_opponent_that_cannot_be(online):
    for change, message in (
        ({"opponent": "mixtur(1)"}, "Write reference, or mixture"),
        ({"select": "across"}, "sets the policy against an opponent"),
    ):
        with pytest.raises(RecipeError, match=message):
            online_run(online | {"online": online["online"] | change})
    given = online | {"online": online["online"] | {"opponent": "reference"}}
    with pytest.raises(RecipeError, match="is the policy itself"):
        online_run(given | {"reference": "previous_round"})
