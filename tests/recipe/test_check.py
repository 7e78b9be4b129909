"""What `luce check` shows, and when it says no."""

import json
from dataclasses import replace

import numpy as np
import pytest

from luce.data.dataset import DataSettings, load
from luce.data.template import Renderer
from luce.errors import DataError
from luce.recipe.check import as_text, check, check_command, violations
from luce.recipe.load import load_recipe
from luce.recipe.prepare import open_recipe
from luce.types import Branch


def test_check_shows_rows_counts_and_memory(recipe):
    findings = check(load_recipe(recipe))
    text = as_text(findings)
    assert len(findings.rows) == 3 and "⟦" in text and "*" in text
    assert findings.counts["rows_read"] == 40 and "40  rows read" in text
    assert "32 train, 8 held out" in text and "dpo: −log σ(0.5·" in text
    assert findings.memory.total > 0 and "MiB" in text
    assert findings.violations == [] and "no violation" in text


def test_check_is_json_on_demand(recipe, tmp_path, capsys):
    path = tmp_path / "small.yaml"
    path.write_text(json.dumps(recipe))  # JSON is YAML
    assert check_command(str(path), ["train.seed=3"], True) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["recipe"]["train"]["seed"] == 3 and shown["counts"]["groups"] == 40


def test_a_beta_of_sums_given_to_means_is_a_warning_that_names_both(recipe, tmp_path, capsys):
    path = tmp_path / "small.yaml"
    path.write_text(json.dumps(recipe | {"objective": {"ln_dpo": {"beta": 0.1}}}))
    assert check_command(str(path), [], True) == 0
    (said,) = json.loads(capsys.readouterr().out)["warnings"]
    assert said.startswith("objective.ln_dpo.beta: 0.1 is usual for sums over a response")
    assert "The default is 5." in said
    assert check_command(str(path), [], False) == 0
    assert f"\nwarning: {said}\n" in capsys.readouterr().out

    mean = 0.1 * mean_length(path)
    assert said.endswith(f"Did you mean {mean:.3g}?")
    check_command(str(path), ["objective.ln_dpo.beta=5"], True)
    assert json.loads(capsys.readouterr().out)["warnings"] == []


def mean_length(path) -> float:
    resolved = load_recipe(str(path))
    data = open_recipe(resolved)[2]
    lengths = [branch.scored.sum() for group in data.train for branch in group.branches]
    return float(np.mean(lengths))


def test_check_writes_nothing(recipe, tmp_path):
    check(load_recipe(recipe))
    assert not (tmp_path / "run").exists()


def test_rows_that_would_be_dropped_are_listed(recipe):
    recipe["data"] |= {"max_length": 44}
    findings = check(load_recipe(recipe))
    dropped = [e for e in findings.ledger if e["action"] == "dropped"]
    assert dropped and findings.counts["rows_dropped"] == len(dropped)
    assert f"pairs.jsonl:{dropped[0]['line']}" in as_text(findings)


def test_bad_rows_stop_the_check_with_their_places(recipe, pairs):
    with open(pairs, "a") as stream:
        stream.write('{"prompt": "x", "chosen": "", "rejected": "b"}\n')
    with pytest.raises(DataError, match=r"pairs.jsonl:41: chosen"):
        check(load_recipe(recipe))


@pytest.fixture
def group_and_renderer(pairs, tiny_tokenizer):
    renderer = Renderer(tiny_tokenizer)
    return load(str(pairs), renderer, DataSettings()).groups[0], renderer


def test_every_broken_invariant_is_a_violation(group_and_renderer):
    group, renderer = group_and_renderer
    assert violations([group], renderer) == []
    branch, bos = group.branches[0], renderer.tokenizer.bos_token_id
    unscored = Branch(branch.ids, np.zeros(len(branch), dtype=bool))
    cut = Branch(branch.ids[:-1], branch.scored[:-1])
    started = Branch(np.append([np.int32(bos)], branch.ids), np.append([True], branch.scored))
    for broken, words in (
        (replace(group, branches=(unscored, branch)), "no scored token"),
        (replace(group, branches=(cut, branch)), "does not end with its scored end-of-turn"),
        (replace(group, branches=(started, branch)), "holds a BOS"),
        (replace(group, prompt=np.array([bos, bos], np.int32)), "more than one BOS"),
        (replace(group, prompt=np.array([], np.int32)), "the prompt has no token"),
    ):
        (found,) = violations([broken], renderer)
        assert words in found and "pairs.jsonl:1" in found
