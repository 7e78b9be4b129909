"""β in comparable units: conversions by hand, what cannot be converted, and the warning."""

import json

import pytest

from luce.errors import LuceError
from luce.objectives.build import make_objective
from luce.objectives.losses import LOSSES
from luce.objectives.objective import Objective
from luce.objectives.presets import OBJECTIVES
from luce.objectives.scores import mean_log_ratio
from luce.objectives.units import BETAS, beta_key, convert_beta, scale_warning


def converted(source, value, target, tokens=None, **others):
    found = convert_beta(source, target, {beta_key(source): value}, others, tokens)
    return found.target_beta


@pytest.mark.parametrize(
    ("source", "value", "target", "expected"),
    [
        # lowest points: logistic and Savage 2/β, square and exponential 1/β, IPO 1/2τ
        ("dpo", 0.1, "dpo", 0.1),
        ("dpo", 0.1, "gpo_square", 0.05),
        ("dpo", 0.1, "ipo", 0.025),
        ("dpo", 0.1, "gpo_exponential", 0.05),
        ("dpo", 0.1, "gpo_truncated_quadratic", 0.05),
        ("dpo", 0.1, "gpo_savage", 0.1),
        ("dpo", 0.1, "rso_sigmoid", 0.1),
        ("ipo", 0.1, "dpo", 0.4),
        ("ipo", 0.1, "gpo_square", 0.2),
        ("gpo_square", 0.3, "ipo", 0.15),
        # of cDPO the slope at 0 is (1 − 2ε)β/2, the curvature β²/4
        ("cdpo", 0.1, "dpo", 0.125),
        # robust DPO: −β/2 / (1 − 2ε), β²/4
        ("robust_dpo", 0.1, "dpo", 0.08),
        ("luce_length_normalized", 3.0, "simpo", 3.0),
    ],
)
def test_conversions(source, value, target, expected):
    others = {"gamma": 0.0} if target == "simpo" else {}
    assert converted(source, value, target, **others) == pytest.approx(expected, rel=1e-9)


def test_the_relation_of_ipo_and_dpo_holds_for_every_beta():
    """GPO, appendix B.2: β_IPO = 2τ is half of DPO's β."""
    for beta in (0.003, 0.1, 1.0, 40.0):
        assert 2 * converted("dpo", beta, "ipo") == pytest.approx(beta / 2)


@pytest.mark.parametrize("target", [n for n in OBJECTIVES if beta_key(n)])
def test_a_conversion_there_and_back_changes_nothing(target):
    try:
        there = convert_beta("dpo", target, {"beta": 0.3}, {}, 20.0)
    except LuceError as error:
        assert any(
            said in str(error)
            for said in ("is not one loss", "differs from pair", "measures", "not defined")
        )
        return
    back = convert_beta(target, "dpo", {there.target_key: there.target_beta}, {}, 20.0)
    assert back.target_beta == pytest.approx(0.3, rel=1e-6)
    assert there.unit == ("nats" if there.tokens is None else "nats per token")


def test_tokens_turn_sums_into_means_and_back():
    assert converted("dpo", 0.1, "ln_dpo", tokens=50.0) == pytest.approx(5.0)
    assert converted("ln_dpo", 5.0, "dpo", tokens=50.0) == pytest.approx(0.1)
    assert converted("cpo", 0.1, "simpo", tokens=20.0, gamma=0.0) == pytest.approx(2.0)
    found = convert_beta("dpo", "ln_dpo", {"beta": 0.1}, {}, 50.0)
    assert (found.lowest, found.unit, found.tokens) == (pytest.approx(0.4), "nats per token", 50)
    assert json.loads(json.dumps(found.plain()))["target_beta"] == pytest.approx(5.0)


def test_a_target_margin_is_taken_into_account():
    """With γ the parabola of SimPO is at σ(γ)/(σ(γ) σ(−γ) β) = (1 + e^γ)/β."""
    assert converted("cpo", 0.1, "simpo", tokens=20.0) == pytest.approx(1 + 2.718281828, rel=1e-8)


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("gpo_hinge", "dpo", r"gpo_hinge: its cost is not curved at 0 .*not defined"),
        ("dpo", "gpo_hinge", r"gpo_hinge: its cost is not curved at 0"),
        ("discopop", "dpo", r"discopop: its cost does not fall to a lowest point"),
        ("dpo", "ln_dpo", r"how many tokens a response has decides.*--tokens N"),
        ("simpo", "dpo", r"simpo measures .*, dpo measures .*: a nat of one is not a nat"),
        ("kto", "dpo", r"kto: its cost is not one loss of one margin"),
        ("dpop", "dpo", r"dpop: its target margin differs from pair to pair"),
        ("dpo", "orpo", r"orpo: has no β to convert, .*`beta`, `tau`, `gamma` or `scale`"),
        ("dpo", "dop", r"no 'dop'. Did you mean 'dpo'"),
    ],
)
def test_what_cannot_be_converted_is_said(source, target, said):
    with pytest.raises(LuceError, match=said):
        convert_beta(source, target)


def test_the_unknown_is_not_given_and_a_length_is_positive():
    with pytest.raises(LuceError, match="`tau` is what is looked for"):
        convert_beta("dpo", "ipo", {}, {"tau": 0.1})
    with pytest.raises(LuceError, match="tokens: 0.0 is no length"):
        convert_beta("dpo", "ln_dpo", {}, {}, 0.0)
    assert convert_beta("dpo", "ln_dpo", {"beta": 0.1}, {}, 1.0).target_beta == 0.1


def test_the_first_of_the_names_is_the_beta():
    assert [beta_key(n) for n in ("dpo", "ipo", "rso_hinge", "luce_length_normalized")] == [
        "beta",
        "tau",
        "gamma",
        "scale",
    ]
    assert beta_key("orpo") is beta_key("sft") is None and BETAS[0] == "beta"


def warning(name, **parameters):
    return scale_warning(make_objective(name, parameters), 50.0)


def test_a_beta_of_sums_given_to_means_names_both_numbers():
    said = warning("ln_dpo", beta=0.1)
    assert said is not None
    assert said.startswith("objective.ln_dpo.beta: 0.1 is usual for sums over a response, but")
    assert "satisfied at 29.4 nats per token" in said and "The default is 5." in said
    assert said.endswith("Did you mean 5?")  # 0.1 · 50 tokens
    assert warning("simpo", beta=0.1) and warning("alpha_dpo", beta=0.05)


def test_a_beta_of_means_given_to_sums_names_both_numbers():
    said = warning("dpo", beta=5.0)
    assert said is not None
    assert said.startswith("objective.dpo.beta: 5 is usual for means over tokens, but dpo sums")
    assert "The default is 0.1." in said and said.endswith("Did you mean 0.1?")  # 5 / 50 tokens
    assert (
        warning("ipo", tau=3.0) and warning("kto", beta=2.0) and warning("plackett_luce", beta=9.0)
    )


@pytest.mark.parametrize("name", OBJECTIVES)
def test_defaults_and_their_neighbours_are_no_matter_of_warning(name):
    key = beta_key(name)
    assert scale_warning(OBJECTIVES[name]()) is None
    if key is not None:
        usual = float(make_objective(name, {}).parameters[key])
        for factor in (0.5, 2.0):
            assert scale_warning(make_objective(name, {key: usual * factor})) is None


def test_usual_settings_are_no_matter_of_warning():
    assert warning("dpo", beta=0.01) is None and warning("dpo", beta=0.5) is None
    assert warning("simpo", beta=10.0) is None and warning("ln_dpo", beta=2.0) is None
    assert warning("ipo", per_token=True) is None
    assert warning("ipo", per_token=True, tau=0.05) is not None


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [("dpo", 0.99, 1.0), ("simpo", 0.21, 0.2), ("simpo", 0.25, 0.15), ("ln_dpo", 0.31, 0.3)],
)
def test_where_a_beta_becomes_one_of_the_other_family(name, inside, outside):
    assert warning(name, beta=inside) is None
    assert warning(name, beta=outside) is not None


def test_nothing_is_said_of_nats_where_a_score_counts_something_else():
    for said in (warning("alphapo", beta=0.1), warning("rdpo", beta=5.0)):
        assert said is not None and "satisfied" not in said


def test_an_objective_of_ones_own_is_no_matter_of_warning():
    mine = Objective(mean_log_ratio(0.01), LOSSES["logistic"], name="mine")
    assert scale_warning(mine) is None
