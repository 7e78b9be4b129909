import math
from dataclasses import replace

import pytest
import torch

from luce.errors import LuceError
from luce.objectives import LOSSES, Objective, TargetMargin
from luce.objectives.needs import needs
from luce.objectives.presets import bradley_terry, cdpo, cpo, dpo, rdpo, robust_dpo, simpo, slic
from luce.objectives.scores import log_ratio, mean_log_ratio
from luce.objectives.terms import annotated_margin
from luce.types import Pairs, Responses

H = "[log π/π_ref(chosen) − log π/π_ref(rejected)]"
FORMULAS = {
    f"−log σ(0.1·{H})": dpo(),
    f"0.9·(−log σ(0.2·{H})) + 0.1·(−log σ(−0.2·{H}))": cdpo(beta=0.2),
    f"[0.9·(−log σ(0.1·{H})) − 0.1·(−log σ(−0.1·{H}))]/0.8": robust_dpo(),
    "−log σ(2·[(log π/|y|)(chosen) − (log π/|y|)(rejected)] − 1)": simpo(),
    "max(0, 2 − [log π(chosen) − log π(rejected)]) − 0.1·log π(chosen)": slic(delta=2.0),
    "−log σ(0.1·[log π(chosen) − log π(rejected)]) − log π(chosen)/|chosen|": cpo(),
    "−log σ([r(chosen) − r(rejected)] − margin)": bradley_terry(),
    f"4·max(0, 1 − (0.1·{H} − 0.5))": Objective(
        log_ratio(0.1), LOSSES["hinge"], target_margin=0.5, scale=4.0
    ),
    f"(1 − (0.1·{H} + 0.5))²": Objective(log_ratio(0.1), LOSSES["square"], target_margin=-0.5),
}


@pytest.mark.parametrize("formula", FORMULAS)
def test_the_formula_prints_the_numbers_that_run(formula):
    assert FORMULAS[formula].formula == formula


def test_parts_compose_freely(pair):
    mine = Objective(mean_log_ratio(2.0), LOSSES["savage"], target_margin=0.5, scale=3.0)
    z = 2 * (-1 + 0.5)
    assert mine(pair).item() == pytest.approx(3 / (1 + math.exp(z - 0.5)) ** 2)
    assert mine.margin(pair).item() == pytest.approx(z)
    assert mine.needs_reference and not mine.needs_reward


def test_a_response_without_tokens_is_an_error(responses):
    empty = Pairs(responses([[-1.0], []]), responses([[-1.0], [-2.0]]))
    with pytest.raises(LuceError, match="^chosen: response 1 of the batch has no scored token"):
        simpo()(empty)


def test_a_row_without_an_annotated_margin_counts_as_zero(pair):
    margin = torch.tensor([math.nan], dtype=torch.float64)
    assert annotated_margin().value(replace(pair, margin=margin)).tolist() == [0.0]
    assert annotated_margin().value(pair).tolist() == [0.0]


def test_an_annotated_margin_is_not_read_by_other_objectives(pair):
    margin = torch.tensor([3.0], dtype=torch.float64)
    torch.testing.assert_close(dpo()(replace(pair, margin=margin)), dpo()(pair))


def test_a_target_margin_that_reads_the_reference_needs_it(pair):
    target = TargetMargin(lambda p: p.chosen.reference_log_prob, "x", needs=needs("reference"))
    assert replace(simpo(), target_margin=target).needs_reference
    assert not simpo().needs_reference


def test_metrics_of_a_pair(pair):
    got = {name: value.item() for name, value in dpo().metrics(pair).items()}
    assert got == pytest.approx(
        {
            "rewards/chosen": -0.2,
            "rewards/rejected": -0.15,
            "rewards/margins": -0.05,
            "rewards/accuracies": 0.0,
            "logps/chosen": -4.0,
            "logps/rejected": -4.5,
            "logps_per_token/chosen": -2.0,
            "logps_per_token/rejected": -1.5,
            "length/chosen": 2.0,
            "length/rejected": 3.0,
        }
    )
    assert not any(value.requires_grad for value in dpo().metrics(pair).values())
    assert cpo().metrics(pair)["nll"].item() == 2.0
    assert slic().metrics(pair)["nll"].item() == 4.0
    assert dpo().weight(pair).tolist() == [1.0]
    assert dpo().statistics(pair) == {}


def test_rewards_are_the_score_with_its_scale(pair):
    assert rdpo().metrics(pair)["rewards/chosen"].item() == pytest.approx(-0.2 + 0.02)
    assert simpo().metrics(pair)["rewards/chosen"].item() == pytest.approx(2 * -2)


def test_metrics_of_a_reward_model_have_no_log_probabilities():
    def graded(rewards: list[float]) -> Responses:
        nothing = torch.zeros(0)
        return Responses(nothing, torch.tensor([4, 2]), reward=torch.tensor(rewards))

    got = bradley_terry().metrics(Pairs(graded([1.0, 0.0]), graded([0.5, 2.0])))
    assert got.keys() == {
        *(f"rewards/{name}" for name in ("chosen", "rejected", "margins", "accuracies")),
        "length/chosen",
        "length/rejected",
    }
    assert got["rewards/accuracies"].tolist() == [1.0, 0.0]
    assert got["length/chosen"].tolist() == [4.0, 2.0]


def test_accuracy_counts_ties_half_and_follows_the_label(responses):
    chosen, rejected = responses([[-1.0]] * 4), responses([[-1.0], [-2.0], [-2.0], [-2.0]])
    label = torch.tensor([1.0, 0.9, 0.2, 0.5], dtype=torch.float64)
    got = simpo().metrics(Pairs(chosen, rejected, label))["rewards/accuracies"].tolist()
    assert got[:3] == [0.5, 1.0, 0.0]
    assert math.isnan(got[3])
