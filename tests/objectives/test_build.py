import inspect
from typing import Any, Literal

import pytest

from luce.errors import RecipeError
from luce.objectives import OBJECTIVES, make_objective
from luce.objectives.build import defaults, resolve
from luce.objectives.presets import dpo


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_is_built_by_name(name):
    assert make_objective(name, {}).name == name
    assert resolve(name) is OBJECTIVES[name]
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
    "objective: no 'mine.cost'. One of your own is named `module:name`, as mine:cost.": (
        "mine.cost",
        {},
    ),
    "objective: no 'a.b.c'. One of your own is named `module:name`, as a.b:c.": ("a.b.c", {}),
    "objective.dpo: no parameter 'betta'. Did you mean 'beta'?": ("dpo", {"betta": 0.1}),
    "objective.sft: no parameter 'beta'. It has no parameters.": ("sft", {"beta": 0.1}),
    "objective.dpo.beta: '0.1' is not a number. Write it without quotes.": ("dpo", {"beta": "0.1"}),
    "objective.dpo.beta: True is not a number.": ("dpo", {"beta": True}),
    "objective.dpo.beta: None is not a number.": ("dpo", {"beta": None}),
    "objective.dpo.beta: -1.0 is not a positive, finite number.": ("dpo", {"beta": -1}),
    "objective.ipo.per_token: 1 is not true or false.": ("ipo", {"per_token": 1}),
    "objective.cpo.nll: no 'tokens'. Choose one of: sum, mean.": ("cpo", {"nll": "tokens"}),
    "objective.sampo.seed: 0.5 is not a whole number.": ("sampo", {"seed": 0.5}),
    "objective.mpo.weights: 2 numbers, but it takes 3.": ("mpo", {"weights": [1, 2]}),
    "objective.mpo.weights: 1.0 is not a list of numbers, as in [0.8, 0.2].": (
        "mpo",
        {"weights": 1.0},
    ),
    "objective.mpo.weights[1]: None is not a number.": ("mpo", {"weights": [1, None, 1]}),
}


@pytest.mark.parametrize("message", MESSAGES)
def test_errors_name_the_key_and_the_remedy(message):
    with pytest.raises(RecipeError) as caught:
        make_objective(*MESSAGES[message])
    assert str(caught.value) == message


TAKEN: dict[str, Any] = {}


def noted(
    whole: int = 1,
    real: float = 1.0,
    switch: bool = True,
    text: str = "t",
    choice: Literal["a", 2] = "a",
    some: tuple[float, ...] = (1.0,),
    two: tuple[int, int] = (1, 2),
    many: list[float] = [1.0],  # noqa: B006
    either: float | str | None = None,
    maybe: int | None = None,
    both: bool | float = True,
    needed: float | str = 1.0,
    one: tuple[float] = (1.0,),
    free: Any = None,
    bare=None,
    odd: dict = {},  # noqa: B006
):
    """Takes one of everything."""
    TAKEN.clear()
    TAKEN.update(locals())
    return dpo()


@pytest.fixture
def make(monkeypatch):
    monkeypatch.setitem(OBJECTIVES, "noted", noted)

    def made(key: str, value: Any) -> Any:
        make_objective("noted", {key: value})
        return TAKEN[key]

    return made


TAKES = [
    ("whole", 3, 3),
    ("whole", 3.0, 3),
    ("real", 3, 3.0),
    ("switch", False, False),
    ("text", "x", "x"),
    ("choice", 2, 2),
    ("some", [1, 2, 3], (1.0, 2.0, 3.0)),
    ("some", (), ()),
    ("two", [3.0, 4], (3, 4)),
    ("many", (1, 2), [1.0, 2.0]),
    ("either", 2, 2.0),
    ("either", "x", "x"),
    ("either", None, None),
    ("maybe", None, None),
    ("maybe", 2, 2),
    ("both", False, False),
    ("both", 1, 1.0),
    ("free", {"x"}, {"x"}),
    ("needed", "x", "x"),
    ("one", [2], (2.0,)),
    ("bare", "y", "y"),
]


@pytest.mark.parametrize(("key", "value", "found"), TAKES, ids=str)
def test_values_become_what_is_annotated(make, key, value, found):
    got = make(key, value)
    assert got == found and type(got) is type(found)


REFUSES = [
    ("whole", 1.5, "whole: 1.5 is not a whole number."),
    ("whole", float("inf"), "whole: inf is not a whole number."),
    ("whole", float("nan"), "whole: nan is not a whole number."),
    ("whole", "1", "whole: '1' is not a number. Write it without quotes."),
    ("text", 1, "text: 1 is not text."),
    ("choice", "b", "choice: no 'b'. Choose one of: a, 2."),
    ("two", [1], "two: 1 numbers, but it takes 2."),
    ("two", [1, 2.5], "two[1]: 2.5 is not a whole number."),
    ("some", 1, "some: 1 is not a list of numbers, as in [0.8, 0.2]."),
    ("some", "12", "some: '12' is not a list of numbers, as in [0.8, 0.2]."),
    ("many", [1, True], "many[1]: True is not a number."),
    ("either", [1], "either: [1] is not a number."),
    ("maybe", "x", "maybe: 'x' is not a number. Write it without quotes."),
    ("both", "x", "both: 'x' is not true or false."),
    ("needed", None, "needed: None is not a number."),
    ("one", [1, 2], "one: 2 numbers, but it takes 1."),
    ("switch", None, "switch: None is not true or false."),
    (
        "odd",
        {},
        "odd: takes a dict, which a recipe cannot write. Recipes write numbers, text, true and "
        "false, and lists of these.",
    ),
]


@pytest.mark.parametrize(("key", "value", "message"), REFUSES, ids=str)
def test_values_that_are_not_what_is_annotated(make, key, value, message):
    with pytest.raises(RecipeError) as caught:
        make(key, value)
    assert str(caught.value) == f"objective.noted.{message}"


def test_defaults_leave_out_what_has_none(monkeypatch):
    def partly(beta: float, gamma: float = 0.5, delta: float | None = None):
        return dpo(beta)

    monkeypatch.setitem(OBJECTIVES, "partly", partly)
    assert defaults("partly") == {"gamma": 0.5, "delta": None}
    assert make_objective("partly", {"beta": 2}).parameters == {"beta": 2.0}
