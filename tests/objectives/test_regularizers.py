from dataclasses import replace

import pytest
import torch

from luce.errors import LuceError
from luce.objectives import REGULARIZERS

# of the pair of conftest.py: log π(chosen) = −4 over 2 tokens; rewards 0.3 and 0.8
WORKED = {"nll_sum": 4.0, "nll_mean": 2.0, "center": 1.1**2}


def test_every_regularizer_has_a_worked_number():
    assert REGULARIZERS.keys() == WORKED.keys()


@pytest.mark.parametrize("name", REGULARIZERS)
def test_values(name, pair):
    rewards = [torch.tensor([r], dtype=torch.float64) for r in (0.3, 0.8)]
    pair = replace(
        pair,
        chosen=replace(pair.chosen, reward=rewards[0]),
        rejected=replace(pair.rejected, reward=rewards[1]),
    )
    regularizer = REGULARIZERS[name](0.5)
    assert regularizer.value(pair).item() == pytest.approx(WORKED[name])
    assert regularizer.formula.startswith("0.5·[")


def test_centering_needs_rewards(pair):
    with pytest.raises(LuceError, match="no rewards"):
        REGULARIZERS["center"](0.1).value(pair)
