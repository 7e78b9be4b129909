"""Length: strings and hazards by hand, quick runs, and errors that the checks must see."""

import math
from pathlib import Path

import pytest
import torch

from luce.lab import (
    EXPERIMENTS,
    length_bias,
    length_partition,
    length_remedy,
    length_survival,
    load,
)
from luce.lab.length_world import REFERENCE, draw, fit_rewards, spearman
from luce.objectives import OBJECTIVES
from luce.objectives.scores import length_regularized

NAMES = ("length-survival", "length-partition", "length-bias", "length-remedy")


def failed(result):
    return [check.what for check in result.checks if not check.passed]


@pytest.mark.parametrize("name", NAMES)
def test_a_quick_run_passes_its_checks(name):
    found = load(name)
    result = found.run(found.quick_seeds, True)
    assert not failed(result)
    assert result.figures and result.verdict
    assert all(rows for rows in result.tables.values())


def test_survival_sees_another_hazard(monkeypatch):
    kept = length_survival.ENDS["e = 1/(t + 1)²"]
    wrong = (lambda t: 1 / (t + 2) ** 2, *kept[1:])
    monkeypatch.setitem(length_survival.ENDS, "e = 1/(t + 1)²", wrong)
    assert failed(length_survival.run(3, True))


def test_partition_sees_the_sign_of_r_dpo(monkeypatch):
    monkeypatch.setattr(
        length_partition, "length_regularized", lambda b, a: length_regularized(b, -a)
    )
    assert failed(length_partition.run(3, True))


def test_bias_sees_labels_of_the_mean_reward(monkeypatch):
    def wrong(name, strings, seed):
        label = strings.labels(strings.mean, seed)
        return length_bias.ended_at(length_bias.objective(name), strings, label)

    monkeypatch.setattr(length_bias, "learnt", wrong)
    assert failed(length_bias.run(2, True))


def test_remedy_sees_labels_exchanged(monkeypatch):
    monkeypatch.setattr(length_remedy, "LABELS", length_remedy.LABELS[::-1])
    kept = length_remedy.result
    seen = []

    def other(ended, fitted, strings, quick):
        monkeypatch.setattr(length_remedy, "LABELS", length_remedy.LABELS[::-1])
        seen.append(kept(ended, fitted, strings, quick))
        return seen[-1]

    monkeypatch.setattr(length_remedy, "result", other)
    length_remedy.run(2, True)
    assert failed(seen[0])


def test_strings_come_from_the_reference():
    strings = draw(40_000, 1)
    assert strings.lengths.double().mean().item() == pytest.approx(10.0, abs=0.15)
    assert (strings.counts[:, 2] == 1).all()
    torch.testing.assert_close(strings.counts.sum(1), strings.lengths.double())
    a, b = strings.counts[:, 0].sum(), strings.counts[:, 1].sum()
    assert (a / (a + b)).item() == pytest.approx(0.5, abs=0.005)
    assert (strings.tokens[strings.lengths.cumsum(0) - 1] == 2).all()


def test_a_policy_gives_strings_the_sum_of_their_tokens():
    strings = draw(50, 2)
    log_p = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64).log()
    pairs = strings.pairs(log_p)
    total = strings.counts @ log_p
    torch.testing.assert_close(torch.cat([pairs.chosen.log_prob, pairs.rejected.log_prob]), total)
    reference = strings.counts @ torch.tensor(REFERENCE, dtype=torch.float64).log()
    found = torch.cat([pairs.chosen.reference_log_prob, pairs.rejected.reference_log_prob])
    torch.testing.assert_close(found, reference)


def test_rewards_of_tokens_are_those_that_explain_soft_labels():
    strings = draw(2000, 3)
    first, second = strings.total.chunk(2)
    label = torch.sigmoid(first - second)
    w = fit_rewards(strings, label, OBJECTIVES["bradley_terry"](), lambda r: r)
    torch.testing.assert_close(w, torch.tensor([0.5, 0.1]).double(), atol=1e-4, rtol=0)


def test_ranks_of_a_monotone_function_agree():
    x = torch.linspace(0, 3, 20, dtype=torch.float64)
    assert spearman(x, x.exp()) == pytest.approx(1.0)
    assert spearman(x, -(x**3)) == pytest.approx(-1.0)


def test_the_end_of_dpo_by_hand():
    assert length_bias.dpo_end(10.0) == pytest.approx(
        1 - 0.45 * (math.exp(0.05) + math.exp(0.01)), abs=1e-12
    )


def test_the_reference_by_length_is_cut_not_lost():
    ref = length_partition.reference(5)
    expected = [0.1, 0.09, 0.081, 0.0729, 0.6561]
    assert ref.probability.tolist() == pytest.approx(expected)
    assert length_partition.mean_length(2.0) == pytest.approx(
        1 / (1 - 0.9 * math.exp(0.05)), rel=1e-6
    )
    assert length_partition.mean_length(0.9) == math.inf


def test_the_page_tells_of_every_experiment():
    page = Path(__file__).parents[2].joinpath("docs/lab_pbde.md").read_text(encoding="utf-8")
    ours = [name for name in EXPERIMENTS if name.startswith(("pbde-", "length-"))]
    # language models of text are told of elsewhere
    assert {name for name in ours if f"luce lab {name}`" not in page} <= {
        "pbde-fig6",
        "pbde-matched-scores",
    }
