import math

import pytest
import torch

from luce.errors import LuceError
from luce.objectives.presets import kto, sft
from luce.types import Demonstrations, Unpaired


@pytest.fixture
def batch(responses) -> Unpaired:
    """log π/π_ref: 1.5 desirable, −0.5 undesirable; mismatched 0.75 and 0.25."""
    return Unpaired(
        responses([[-0.5, -1.0], [-2.0]], [[-1.0, -2.0], [-1.5]]),
        torch.tensor([1.0, 0.0], dtype=torch.float64),
        responses([[-0.25], [-1.0, -1.75]], [[-1.0], [-1.0, -2.0]]),
    )


def with_kl(batch: Unpaired, kl: float) -> Unpaired:
    return Unpaired(batch.response, batch.desirable, batch.mismatched, {"kl": kl})


def sigma(z):
    return 1 / (1 + math.exp(-z))


def test_the_baseline_is_zero_until_there_is_a_mean(batch):
    assert kto(beta=2.0)(batch).tolist() == pytest.approx([sigma(-3.0), sigma(-1.0)])


def test_the_baseline_moves_both_sides(batch):
    costs = kto(beta=2.0)(with_kl(batch, 0.5)).tolist()
    assert costs == pytest.approx([sigma(-2 * (1.5 - 0.5)), sigma(-2 * (0.5 + 0.5))])


def test_a_negative_mean_is_no_divergence(batch):
    torch.testing.assert_close(kto()(with_kl(batch, -0.5)), kto()(batch))


def test_statistics_are_the_log_ratios_of_mismatched_responses(batch):
    kl = kto().statistics(batch)["kl"]
    assert kl.tolist() == pytest.approx([0.75, 0.25])
    assert not kl.requires_grad
    assert kto().statistics(Unpaired(batch.response, batch.desirable)) == {}


def test_mismatched_responses_are_one_for_each_row(batch, responses):
    lonely = Unpaired(batch.response, batch.desirable, responses([[-1.0]], [[-1.0]]))
    with pytest.raises(LuceError, match="^mismatched: 1 responses for 2 rows"):
        kto().statistics(lonely)


def test_metrics_belong_to_the_side_of_the_response(batch):
    got = kto(beta=2.0).metrics(batch)
    assert got["rewards/chosen"][0].item() == pytest.approx(3.0)
    assert got["rewards/rejected"][1].item() == pytest.approx(-1.0)
    assert got["logps/chosen"][0].item() == pytest.approx(-1.5)
    assert got["logps_per_token/chosen"][0].item() == pytest.approx(-0.75)
    assert got["length/rejected"][1].item() == 1.0
    assert got["rewards/chosen"][1].isnan() and got["rewards/rejected"][0].isnan()
    assert got["kl"].tolist() == pytest.approx([0.75, 0.25])


def test_the_formula_prints_the_numbers_that_run():
    assert kto(beta=0.2, lam_d=1.5).formula == (
        "desirable: 1.5·[1 − σ(0.2·log π/π_ref(y) − z₀)]; "
        "undesirable: 1 − σ(z₀ − 0.2·log π/π_ref(y)); z₀ = 0.2·max(0, KL)"
    )


def test_a_label_that_is_no_probability_is_an_error(batch):
    with pytest.raises(LuceError, match="no probability"):
        kto()(Unpaired(batch.response, batch.desirable + 1))


def test_likelihood_metrics(responses):
    batch = Demonstrations(responses([[-1.0, -3.0]]))
    got = {name: value.item() for name, value in sft().metrics(batch).items()}
    assert got == {"nll": 2.0, "mean_token_log_prob": -2.0, "length": 2.0}
    assert sft().statistics(batch) == {}


def test_likelihood_of_a_response_without_tokens_is_an_error(responses):
    with pytest.raises(LuceError, match="^completion: response 0"):
        sft()(Demonstrations(responses([[], [-1.0]])))
