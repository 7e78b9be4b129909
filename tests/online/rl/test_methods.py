"""The table of methods: their defaults, and what they refuse."""

import pytest

from luce.errors import RecipeError
from luce.online.rl import METHODS, Grpo, Rloo, make_method


def test_every_method_is_listed_under_its_own_name_and_says_where_it_is_from():
    for name, kind in METHODS.items():
        method = make_method(name, {})
        assert type(method) is kind and method.name == name
        assert "arXiv" in method.source or "Machine Learning" in method.source
        assert make_method(name, method.parameters) == method


def test_a_formula_says_what_enters_reward_and_loss():
    told = make_method("ppo", {"beta": 0.1, "entropy": 0.01, "missing_eos_penalty": 2}).formula
    assert "R = r − 2·[cut] − 0.1·log π/π_ref − 0.01·log π" in told
    assert "clip(ρ, 0.8, 1.2)" in told and told.endswith("token-mean")
    assert "+ 0.04·k3(π, π_ref)" in make_method("grpo", {}).formula
    assert "π_ref" not in make_method("dr_grpo", {}).formula


@pytest.mark.parametrize(
    "name, given, said",
    [
        ("rlo", {}, "objective: no 'rlo'. Did you mean 'rloo'?"),
        ("rloo", {"bta": 1.0}, "objective.rloo: no parameter 'bta'. Did you mean 'beta'?"),
        ("rloo", {"beta": "x"}, "objective.rloo.beta: 'x'"),
        ("rloo", {"beta": -1.0}, "objective.rloo.beta: -1 is negative"),
        ("rloo", {"kl": "in_loss"}, "k1 in the loss has a gradient of 0 on average"),
        ("rloo", {"kl_estimator": "k3"}, "set `kl: in_loss`"),
        ("rloo", {"clip_low": 0.2}, "goes with clip_high"),
        ("grpo", {"clip_low": 1.0}, "are to lie in"),
        ("grpo", {"ddof": 2}, "objective.grpo.ddof: 2"),
        ("ppo", {"lam": 1.5}, "objective.ppo.lam: 1.5 is not in [0, 1]"),
        ("ppo", {"clip_value": 0.0}, "null: no clip"),
        ("ppo", {"critic_learning_rate": 0.0}, "is not above 0"),
        ("ppo", {"missing_eos_penalty": 0.0}, "give a number above 0, or null"),
    ],
)
def test_what_cannot_be_is_refused_by_name(name, given, said):
    with pytest.raises(RecipeError) as error:
        make_method(name, given)
    assert said in str(error.value)


def test_whole_numbers_stand_for_real_ones():
    assert make_method("rloo", {"beta": 0}) == Rloo(beta=0.0)


def test_samples_are_seen_once_where_there_is_no_ratio(world):
    with pytest.raises(RecipeError, match="Set `epochs: 1`, or clip_low and clip_high"):
        world.trainer(Rloo(), epochs=2.0)
    assert world.trainer(Rloo(clip_low=0.2, clip_high=0.2), epochs=2.0).total_steps == 2
    assert world.trainer(Grpo(), epochs=2.0).total_steps == 2
