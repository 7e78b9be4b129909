"""Rewards and advantages of tokens, worked by hand."""

import pytest
import torch

from luce.errors import LuceError
from luce.online.rl import Drawn, DrGrpo, Grpo, Ppo, Reinforce, Rloo, credit, token_rewards


def drawn(**given) -> Drawn:
    """Two prompts with two responses each, of 2, 1, 1 and 3 tokens."""
    values = {
        "reward": torch.tensor([1.0, 3.0, 0.0, 4.0]),
        "ended": torch.tensor([True, False, True, True]),
        "lengths": torch.tensor([2, 1, 1, 3]),
        "sizes": torch.tensor([2, 2]),
        "behavior": torch.tensor([-1.0, -2.0, -0.5, -1.0, -1.0, -1.0, -1.0]),
        "reference": torch.tensor([-1.5, -1.0, -0.5, -3.0, -1.0, -2.0, -1.0]),
    }
    return Drawn(**(values | given))


def test_the_reward_stands_on_the_last_token_and_the_kl_on_every_one():
    found = token_rewards(Rloo(beta=0.1), drawn())
    price = 0.1 * torch.tensor([0.5, -1.0, 0.0, 2.0, 0.0, 1.0, 0.0])
    expected = torch.tensor([0.0, 1.0, 3.0, 0.0, 0.0, 0.0, 4.0]) - price
    torch.testing.assert_close(found, expected)


def test_entropy_and_the_missing_end_enter_the_reward():
    method = Rloo(beta=0.0, entropy=0.5, missing_eos_penalty=1.0)
    found = token_rewards(method, drawn())
    surprise = -drawn().behavior
    expected = torch.tensor([0.0, 1.0, 3.0 - 1.0, 0.0, 0.0, 0.0, 4.0]) + 0.5 * surprise
    torch.testing.assert_close(found, expected)


def test_a_kl_in_the_loss_leaves_the_reward_alone():
    found = token_rewards(Grpo(beta=0.1), drawn())
    assert found.tolist() == [0.0, 1.0, 3.0, 0.0, 0.0, 0.0, 4.0]


def test_a_price_without_a_reference_is_an_error():
    with pytest.raises(LuceError, match="Set `reference: initial`, or `beta: 0`"):
        token_rewards(Rloo(beta=0.1), drawn(reference=None))


@pytest.mark.parametrize(
    "method, expected",
    [
        (Reinforce(beta=0.0, baseline="none"), [1, 1, 3, 0, 4, 4, 4]),
        (Reinforce(beta=0.0, baseline="running"), [0, 0, 2, -1, 3, 3, 3]),
        # the means of the other three: 7/3, 5/3, 8/3, 4/3
        (
            Reinforce(beta=0.0, baseline="batch"),
            [1 - 7 / 3, 1 - 7 / 3, 3 - 5 / 3, 0 - 8 / 3, 4 - 4 / 3, 4 - 4 / 3, 4 - 4 / 3],
        ),
        (Rloo(beta=0.0), [-2, -2, 2, -4, 4, 4, 4]),
        (DrGrpo(), [-1, -1, 1, -2, 2, 2, 2]),
        # sd with n − 1: √2 and √8
        (Grpo(beta=0.0), [-(0.5**0.5)] * 2 + [0.5**0.5] + [-(0.5**0.5)] + [0.5**0.5] * 3),
        (Grpo(beta=0.0, ddof=0), [-1, -1, 1, -1, 1, 1, 1]),
    ],
    ids=["none", "running", "batch", "rloo", "dr_grpo", "grpo", "grpo-ddof-0"],
)
def test_advantages_by_hand(method, expected):
    found = credit(method, drawn(), running_mean=1.0)
    torch.testing.assert_close(
        found.advantage, torch.tensor([float(x) for x in expected]), atol=2e-4, rtol=0
    )
    assert found.returns is None
    assert found.total.tolist() == [1.0, 3.0, 0.0, 4.0]


def test_reinforce_credits_a_token_with_what_comes_after_it_only():
    found = credit(Reinforce(beta=1.0, baseline="none"), drawn())
    # to go of the first response: −.5 + (1 + 1), then 1 + 1; of the last: 3, 3, 4
    expected = [1.5, 2.0, 3.0, -2.0, 3.0, 3.0, 4.0]
    torch.testing.assert_close(found.advantage, torch.tensor(expected))


def test_ppo_takes_values_off_and_fits_them_to_what_it_took_them_off():
    value = torch.tensor([0.5, 0.25, 1.0, 2.0, 0.0, 1.0, 2.0])
    method = Ppo(beta=0.0, gamma=0.9, lam=0.5, whiten=False)
    found = credit(method, drawn(value=value))
    last = [1.0 - 0.25, 3.0 - 1.0, 0.0 - 2.0, 4.0 - 2.0]
    first = 0.9 * 0.25 - 0.5 + 0.45 * last[0]
    middle = 0.9 * 2.0 - 1.0 + 0.45 * last[3]
    start = 0.9 * 1.0 - 0.0 + 0.45 * middle
    expected = torch.tensor([first, last[0], last[1], last[2], start, middle, last[3]])
    torch.testing.assert_close(found.advantage, expected)
    assert found.returns is not None
    torch.testing.assert_close(found.returns, expected + value)
    white = credit(Ppo(beta=0.0, gamma=0.9, lam=0.5), drawn(value=value))
    assert abs(float(white.advantage.mean())) < 1e-6
    assert float(white.advantage.std(correction=0)) == pytest.approx(1.0, abs=1e-5)
    torch.testing.assert_close(white.returns, found.returns)
    with pytest.raises(LuceError, match="It needs a critic"):
        credit(method, drawn())
