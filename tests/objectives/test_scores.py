import math

import pytest
import torch

from luce.errors import LuceError
from luce.objectives import SCORES
from luce.objectives.scores import log_odds, log_ratio, reward
from luce.types import Responses

# a response of 2 tokens with log π = −4 and log π_ref = −2; reward 0.7; default parameters
WORKED = {
    "log_prob": -4.0,
    "mean_log_prob": 2.0 * -2.0,
    "log_ratio": 0.1 * -2.0,
    "mean_log_ratio": 5.0 * -1.0,
    "length_regularized": 0.1 * -2.0 + 0.01 * 2,
    "log_odds": -2.0 - math.log(1 - math.exp(-2.0)),
    "reward": 0.7,
}


def given(dtype=torch.float64) -> Responses:
    return Responses(
        torch.tensor([-1.0, -3.0], dtype=dtype),
        torch.tensor([2]),
        torch.tensor([-0.5, -1.5], dtype=dtype),
        reward=torch.tensor([0.7], dtype=dtype),
    )


def test_every_score_has_a_worked_number():
    assert SCORES.keys() == WORKED.keys()


@pytest.mark.parametrize("name", SCORES)
def test_values(name):
    assert SCORES[name]()(given()).item() == pytest.approx(WORKED[name], abs=1e-12)


@pytest.mark.parametrize("name", SCORES)
def test_an_affine_score_is_f_log_prob_plus_g_with_f_positive(name):
    score, y = SCORES[name](), given()
    if score.affine is None:
        assert name in ("log_odds", "reward")
        return
    f = torch.as_tensor(score.affine.f(y), dtype=torch.float64)
    assert (f > 0).all()
    omega = score.scale * (f * y.log_prob + score.affine.g(y))
    torch.testing.assert_close(omega, score(y))


@pytest.mark.parametrize("name", SCORES)
def test_needs_reference_is_as_declared(name):
    y = Responses(given().policy, given().lengths, reward=given().reward)
    if SCORES[name]().needs_reference:
        with pytest.raises(LuceError, match="no reference log-probabilities"):
            SCORES[name]()(y)
    else:
        assert SCORES[name]()(y).isfinite()


def test_a_batch_without_rewards_says_what_to_do():
    with pytest.raises(LuceError, match="model.kind: reward"):
        reward()(Responses(torch.zeros(1), torch.tensor([1])))


@pytest.mark.parametrize("mean", [-1e-7, -1e-9, -1e-12])
def test_log_odds_keep_their_digits_near_certainty_in_float32(mean):
    """log(1 − exp(m)) taken naively is −inf for these in float32."""
    y = Responses(torch.tensor([mean]), torch.tensor([1]))
    assert log_odds()(y).item() == pytest.approx(mean - math.log(-math.expm1(mean)), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_odds_of_a_certain_response_are_finite_with_slope_one(dtype):
    policy = torch.zeros(2, dtype=dtype, requires_grad=True)
    omega = log_odds()(Responses(policy, torch.tensor([2])))
    omega.sum().backward()
    eps = torch.finfo(dtype).eps
    assert omega.item() == pytest.approx(-2 * math.log(eps), rel=1e-6)
    assert policy.grad.tolist() == [0.5, 0.5]


def test_formulas_print_the_numbers_that_run():
    assert log_ratio(0.05).formula == "0.05·log π/π_ref"
    assert log_ratio(1.0).margin_formula == "[log π/π_ref(chosen) − log π/π_ref(rejected)]"
