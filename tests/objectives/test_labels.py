import math

import pytest
import torch

from luce.errors import LuceError
from luce.objectives import LABELS, LOSSES
from luce.objectives.labels import flipped, soft, unbiased

PHI = LOSSES["logistic"].phi
Z = torch.tensor([0.5], dtype=torch.float64)


def nls(z):
    return math.log(1 + math.exp(-z))


# label 0.7, z = 0.5, target margin 0.2, flips at rate 0.1
AGREES, CONTRADICTS = nls(0.5 - 0.2), nls(-0.5 - 0.2)
WORKED = {
    "soft": (soft(), 0.7 * AGREES + 0.3 * CONTRADICTS),
    "flipped": (flipped(0.1), 0.66 * AGREES + 0.34 * CONTRADICTS),
    "unbiased": (unbiased(0.1), 0.75 * AGREES + 0.25 * CONTRADICTS),
}


def test_every_label_model_has_a_worked_number():
    assert LABELS.keys() == WORKED.keys()


@pytest.mark.parametrize("name", LABELS)
def test_values(name):
    model, expected = WORKED[name]
    label = torch.tensor([0.7], dtype=torch.float64)
    assert model.cost(PHI, Z, 0.2, label).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", LABELS)
def test_no_label_means_certainty(name):
    model = WORKED[name][0]
    torch.testing.assert_close(
        model.cost(PHI, Z, 0.2, None), model.cost(PHI, Z, 0.2, torch.ones_like(Z))
    )


def test_the_unbiased_cost_averages_to_the_true_one_over_flips():
    model, certain, flip = unbiased(0.2), torch.ones_like(Z), torch.zeros_like(Z)
    mean = 0.8 * model.cost(PHI, Z, 0.0, certain) + 0.2 * model.cost(PHI, Z, 0.0, flip)
    torch.testing.assert_close(mean, soft().cost(PHI, Z, 0.0, certain))


def test_a_hard_label_takes_one_term_where_the_other_overflows():
    z = torch.tensor([3e38, -3e38], requires_grad=True)
    cost = soft().cost(LOSSES["truncated_quadratic"].phi, z, 0.0, torch.tensor([1.0, 0.0]))
    (slope,) = torch.autograd.grad(cost.sum(), z)
    assert cost.tolist() == [0.0, 0.0]
    assert slope.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan])
def test_a_label_that_is_no_probability_is_an_error(bad):
    with pytest.raises(LuceError, match="in pair 1 of the batch is no probability"):
        label = torch.tensor([1.0, bad], dtype=torch.float64)
        soft().cost(PHI, Z.repeat(2), 0.0, label)
