"""What `module:name` may stand for, and what is said where it stands for nothing of use."""

import inspect
import sys

import pytest
import torch

from luce.errors import RecipeError
from luce.objectives import LOSSES, Objective
from luce.objectives.build import defaults, make_objective, resolve
from luce.objectives.conformance import check_objective
from luce.objectives.own import code_of
from luce.objectives.presets import dpo
from luce.objectives.scores import log_prob

CODE = '''
import json
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from luce.errors import LuceError
from luce.objectives import LOSSES, MarginLoss, Objective, Score, WeightedSum, make_objective
from luce.objectives.scores import log_prob, log_ratio


def loss(z, delta: float = 1.0, kind: Literal["soft", "hard"] = "soft"):
    """What a margin costs."""
    gap = delta - z
    return torch.nn.functional.softplus(gap) if kind == "soft" else torch.relu(gap)

def typed(x: Float[Tensor, " groups"]) -> Tensor:
    return -x

given = MarginLoss(lambda z: -z, lambda z: f"−{z}")
a_score = log_prob(3.0)
composed = make_objective("dpo", {"beta": 0.3})

def score(beta: float) -> Score:
    return log_prob(beta)

def objective(weights: tuple[float, ...] = (1.0, 2.0), scale: float | None = None, note: str = "n"):
    parts = [(w, make_objective("dpo", {})) for w in weights]
    return WeightedSum(parts, parameters={"hidden": 1})

def needs_a_score(score: Score):
    return Objective(score, LOSSES["hinge"])

@dataclass(frozen=True)
class Whole:
    """A cost function from nothing."""
    beta: float = 1.0
    structure = "demonstration"
    scope = "group"
    needs = frozenset()
    needs_reference = False
    name = "whole"
    formula = "−beta log π"

    @property
    def parameters(self):
        return {"beta": self.beta}
    def __call__(self, batch):
        return -self.beta * batch.response.log_prob
    def weight(self, batch):
        return torch.ones_like(batch.response.length)
    def metrics(self, batch):
        return {}
    def statistics(self, batch):
        return {}

class Half:
    structure, needs, needs_reference = "pair", frozenset(), False
    name = formula = "half"
    parameters = {}
    def __call__(self, batch):
        return batch.chosen.log_prob
    def weight(self, batch):
        return 1.0

class Sketch:
    structure, needs, name, scope = "pair", frozenset(), "sketch", "group"
    parameters = {}
    def __call__(self, batch):
        return batch.chosen.log_prob

class Askew(Whole):
    structure = "pairs"

class Greedy(Whole):
    needs = frozenset({"refrence"})

class SingleWhole(Whole):
    def __call__(self, batch):
        return -batch.response.log_prob.float()

class Picky(Whole):
    def __call__(self, batch):
        raise LuceError("not such rows")

def number(): return 3
def a_loss(): return LOSSES["hinge"]
def mean(z): return torch.relu(1 - z).mean()
def ranked(z): return -z.sort().values
def centred(z): return z.mean() - z
def rising(z): return z
def boom(z): return 1 / 0
def twice(z, beta: float = 1.0): return -beta * z
def single(z): return -z.float()
def text(z): return "none"
def annotated(z, x: "Missing" = 1): return -z
def inside(): return Objective(log_prob(1.0), MarginLoss(lambda z: -z[0] / {}["k"], str))
def flat(z): return torch.nn.Parameter(torch.ones(1, dtype=z.dtype)).expand(len(z))
def bounded(z): return torch.sigmoid(-z)
def deep(z): return json.loads("{")
seven = 7
'''


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    """`own_parts` in the current folder."""
    (tmp_path / "own_parts.py").write_text(CODE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith(("own_parts", "a_package"))]:
        del sys.modules[name]


H = "[log π/π_ref(chosen) − log π/π_ref(rejected)]"
FORMS = {
    "loss": ({"beta": 2, "kind": "hard"}, {"beta": 2.0, "delta": 1.0, "kind": "hard"}),
    "typed": ({}, {"beta": 0.1}),
    "given": ({"beta": 1}, {"beta": 1.0}),
    "a_score": ({}, {}),
    "composed": ({}, {}),
    "score": ({"beta": 3.0}, {"beta": 3.0}),
    "objective": (
        {"weights": [1, 1, 1]},
        {"weights": (1.0, 1.0, 1.0), "scale": None, "note": "n"},
    ),
    "Whole": ({"beta": 2}, {"beta": 2.0}),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_an_objective_of_that_name_with_its_parameters(name):
    given, parameters = FORMS[name]
    made = make_objective(f"own_parts:{name}", given)
    assert dict(made.parameters) == parameters
    assert made.name == ("whole" if name == "Whole" else f"own_parts:{name}")
    assert check_objective(made) == []


def test_a_function_of_a_margin_is_a_loss_of_the_log_ratio(pair):
    made = make_objective("own_parts:loss", {"beta": 2, "delta": 3})
    assert isinstance(made, Objective)
    assert made.formula == f"loss(2·{H}, delta=3, kind=soft)"
    z = 2 * -0.5
    expected = torch.nn.functional.softplus(torch.tensor(3 - z, dtype=torch.float64))
    torch.testing.assert_close(made(pair), expected[None])
    assert (made.loss.convex, made.loss.tail) == (True, "I")
    hard = make_objective("own_parts:loss", {"kind": "hard"})
    assert isinstance(hard, Objective) and hard.loss.tail == "II"
    bounded = make_objective("own_parts:bounded", {})
    assert isinstance(bounded, Objective) and not bounded.loss.convex


@pytest.mark.parametrize("name", ["loss", "given"])
def test_the_beta_of_a_loss_is_a_tenth_unless_given(name):
    made = resolve(f"own_parts:{name}")()
    assert isinstance(made, Objective) and made.score.scale == 0.1


def test_a_score_is_under_the_logistic_loss(pair):
    for name, given in (("a_score", {}), ("score", {"beta": 3})):
        made = make_objective(f"own_parts:{name}", given)
        torch.testing.assert_close(made(pair), Objective(log_prob(3.0), LOSSES["logistic"])(pair))


def test_an_objective_is_itself_under_its_place(pair):
    made = make_objective("own_parts:composed", {})
    torch.testing.assert_close(made(pair), dpo(0.3)(pair))
    assert made.name == "own_parts:composed"


def test_its_signature_and_text_are_shown():
    make = resolve("own_parts:loss")
    assert list(inspect.signature(make).parameters) == ["beta", "delta", "kind"]
    assert inspect.getdoc(make) == "What a margin costs."
    assert defaults("own_parts:loss") == {"beta": 0.1, "delta": 1.0, "kind": "soft"}
    assert defaults("own_parts:score") == {}
    assert resolve("dpo") is dpo


def test_a_module_in_a_package_is_found(module):
    (module / "a_package").mkdir()
    (module / "a_package" / "__init__.py").write_text("")
    (module / "a_package" / "mine.py").write_text("def loss(z): return -z\n")
    assert make_objective("a_package.mine:loss", {}).formula == f"loss(0.1·{H})"
    code = code_of("a_package.mine:loss")
    assert (code["module"], code["file"]) == ("a_package.mine", "a_package/mine.py")
    before = code["sha256"]
    (module / "a_package" / "mine.py").write_text("def loss(z): return -2 * z\n")
    assert code_of("a_package.mine:loss")["sha256"] != before
    assert code_of("dpo") == {}


def test_the_current_folder_comes_first_and_stays_importable(module):
    make_objective("own_parts:loss", {})
    assert sys.path[-1] == str(module) and sys.path.count(str(module)) == 1


def test_a_module_of_the_current_folder_goes_before_others_of_its_name(module):
    elsewhere = module / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "own_parts.py").write_text("def loss(z): return -7 * z\n")
    sys.path.insert(0, str(elsewhere))
    assert code_of("own_parts:loss")["file"] == "own_parts.py"


MESSAGES = {
    "los": "objective: own_parts has no 'los'. Did you mean 'loss'?",
    "number": "objective.own_parts:number: returned a int; expected an objective, such as "
    "Objective(score, loss), or a Score.",
    "a_loss": "objective.own_parts:a_loss: returned a MarginLoss; expected an objective, such as "
    "Objective(score, loss), or a Score. Return Objective(score, loss) with it.",
    "mean": "objective.own_parts:mean: 121 margins cost shape (); a margin loss gives one cost for "
    "each.",
    "text": "objective.own_parts:text: 121 margins cost str; a margin loss gives one cost for "
    "each.",
    "ranked": "objective.own_parts:ranked: what a margin costs depends on the other margins.",
    "centred": "objective.own_parts:centred: what a margin costs depends on the other margins.",
    "rising": "objective.own_parts:rising: rising(z) does not fall at z = 0, so it need not favour "
    "the preferred response. Is its sign reversed? If it is meant, say `bayes_consistent=False`.",
    "boom": "objective.own_parts:boom: raised ZeroDivisionError: division by zero (own_parts.py:",
    "inside": "objective.own_parts:inside: raised KeyError: 'k' (own_parts.py:",
    "annotated": "objective.own_parts:annotated: raised NameError: name 'Missing' is not defined",
    "twice": "objective.own_parts:twice: its parameter `beta` is also that of the score, beta · "
    "log π/π_ref. Give it another name.",
    "single": "objective.own_parts:single: margins of torch.float64 cost torch.float32.",
    "SingleWhole": "objective.own_parts:SingleWhole: its cost is torch.float32 where "
    "log-probabilities are torch.float64.",
    "Half": "objective.own_parts:Half: a Half has no `metrics` and no `scope` and no `statistics`, "
    "which an objective has (luce.types.CostFunction).",
    "Sketch": "objective.own_parts:Sketch: a Sketch has no `formula` and no `metrics` and no "
    "`needs_reference` and no `statistics` and no `weight`, which an objective has",
    "flat": "objective.own_parts:flat: flat(z) does not fall at z = 0",
    "deep": "objective.own_parts:deep: raised JSONDecodeError: Expecting property name enclosed in "
    "double quotes: line 1 column 2 (char 1) (own_parts.py:",
    "Askew": "objective.own_parts:Askew.structure: no 'pairs'. Did you mean 'pair'?",
    "Greedy": "objective.own_parts:Greedy.needs: no 'refrence'. Did you mean 'reference'?",
    "score": "objective.own_parts:score: no `beta`, which has no default. Write "
    "`{own_parts:score: {beta: …}}`.",
    "seven": "objective.own_parts:seven: is a int. Expected a function that returns an objective "
    "or a score, a function of a margin, or a MarginLoss.",
}


@pytest.mark.parametrize("name", MESSAGES)
def test_what_cannot_be_used_is_named(name):
    with pytest.raises(RecipeError) as caught:
        make_objective(f"own_parts:{name}", {})
    assert str(caught.value).startswith(MESSAGES[name])
    assert "\n" not in str(caught.value)


def test_an_objective_may_refuse_rows():
    assert make_objective("own_parts:Picky", {}).name == "whole"


PARAMETERS = {
    "objective.own_parts:loss: no parameter 'deltta'. Did you mean 'delta'?": {"deltta": 1},
    "objective.own_parts:loss.delta: 'x' is not a number. Write it without quotes.": {"delta": "x"},
    "objective.own_parts:loss.beta: -1.0 is not a positive, finite number.": {"beta": -1},
    "objective.own_parts:loss.kind: no 'firm'. Choose one of: soft, hard.": {"kind": "firm"},
}


@pytest.mark.parametrize("message", PARAMETERS)
def test_parameters_are_checked_like_those_of_presets(message):
    with pytest.raises(RecipeError) as caught:
        make_objective("own_parts:loss", PARAMETERS[message])
    assert str(caught.value) == message


def test_other_types_of_parameters():
    with pytest.raises(RecipeError, match=r"needs_a_score.score: takes a Score, which a recipe"):
        make_objective("own_parts:needs_a_score", {"score": 1})
    with pytest.raises(RecipeError, match=r"objective.note: 3 is not text"):
        make_objective("own_parts:objective", {"note": 3})


IMPORTS = {
    "own_part:loss": "objective: no module 'own_part' in {here} or among the installed packages.",
    "a_package.mine:loss": "objective: no module 'a_package' in {here} or among the installed",
    "own_parts.py:loss": "objective: 'own_parts.py:loss' is no `module:name`, as "
    "my_package.mine:loss is. Did you mean 'own_parts:loss'?",
    "a/b.py:loss": "objective: 'a/b.py:loss' is no `module:name`, as my_package.mine:loss is. Did "
    "you mean 'a.b:loss'?",
    "own_parts:": "objective: 'own_parts:' is no `module:name`, as my_package.mine:loss is.",
    "own_parts.loss": "objective: no 'own_parts.loss'. One of your own is named `module:name`, as "
    "own_parts:loss.",
}


@pytest.mark.parametrize("name", IMPORTS)
def test_a_module_that_is_not_there_is_named(name, module):
    with pytest.raises(RecipeError) as caught:
        make_objective(name, {})
    assert str(caught.value).startswith(IMPORTS[name].format(here=module))


BROKEN = {
    "import own_absent\n": "objective: own_parts_b: No module named 'own_absent'; it is imported "
    "there.",
    "def loss(z:\n": "objective: own_parts_b: not valid Python: '(' was never closed "
    "(own_parts_b.py:1).",
    "x = 1\ny = x / 0\n": "objective: importing own_parts_b: raised ZeroDivisionError: division by "
    "zero (own_parts_b.py:2, in <module>)",
    "": "objective: own_parts_b has no 'loss'. It is empty.",
}


@pytest.mark.parametrize("code", BROKEN)
def test_a_module_that_cannot_be_imported_is_named(code, module):
    (module / "own_parts_b.py").write_text(code)
    with pytest.raises(RecipeError) as caught:
        make_objective("own_parts_b:loss", {})
    assert str(caught.value) == BROKEN[code]
