import inspect

import pytest

from luce.errors import RecipeError
from luce.objectives import OBJECTIVES, make_objective
from luce.objectives.build import defaults


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_is_built_by_name(name):
    assert make_objective(name, {}).name == name
    assert defaults(name).keys() == inspect.signature(OBJECTIVES[name]).parameters.keys()


def test_a_whole_number_is_taken_for_a_real_one():
    assert make_objective("ipo", {"tau": 1, "per_token": True}).parameters == {
        "tau": 1.0,
        "per_token": True,
    }


def test_an_optional_parameter_may_be_absent():
    got = make_objective("simpo", {"gamma": None, "gamma_beta_ratio": 0.25})
    assert got.parameters == {"beta": 2.0, "gamma": 0.5}


MESSAGES = {
    "objective: no 'dop'. Did you mean 'dpo'?": ("dop", {}),
    "objective.dpo: no parameter 'betta'. Did you mean 'beta'?": ("dpo", {"betta": 0.1}),
    "objective.sft: no parameter 'beta'. It has no parameters.": ("sft", {"beta": 0.1}),
    "objective.dpo.beta: '0.1' is not a number. Write it without quotes.": ("dpo", {"beta": "0.1"}),
    "objective.dpo.beta: True is not a number.": ("dpo", {"beta": True}),
    "objective.dpo.beta: None is not a number.": ("dpo", {"beta": None}),
    "objective.dpo.beta: -1.0 is not a positive, finite number.": ("dpo", {"beta": -1}),
    "objective.ipo.per_token: 1 is not true or false.": ("ipo", {"per_token": 1}),
    "objective.cpo.nll: no 'tokens'. Choose one of: sum, mean.": ("cpo", {"nll": "tokens"}),
}


@pytest.mark.parametrize("message", MESSAGES)
def test_errors_name_the_key_and_the_remedy(message):
    with pytest.raises(RecipeError) as caught:
        make_objective(*MESSAGES[message])
    assert str(caught.value) == message
