"""Cards: complete for every preset and part, and true where numbers can be had otherwise."""

import json
import math
import re

import pytest

from luce.errors import LuceError
from luce.objectives.anatomy import score_of
from luce.objectives.build import defaults, make_objective
from luce.objectives.card_lines import card_lines, short, value_text
from luce.objectives.cards import TABLES, card, find, summary
from luce.objectives.combine import WeightedSum
from luce.objectives.docstring import SECTIONS, read_docstring
from luce.objectives.loss_words import LOSS_WORDS
from luce.objectives.losses import LOSSES
from luce.objectives.needs import NEEDS
from luce.objectives.objective import Objective
from luce.objectives.presets import OBJECTIVES
from luce.objectives.scores import log_ratio


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_card_of_a_preset_is_complete(name):
    shown, objective = card(name), OBJECTIVES[name]()
    assert shown.summary.endswith(".") and shown.formula == objective.formula and shown.latex
    assert shown.source and re.search(r"\d{4}|maximum likelihood", shown.source)
    assert [p.name for p in shown.parameters] == list(defaults(name))
    for p in shown.parameters:
        assert len(p.meaning) > 5, p.name
        assert p.default == defaults(name)[p.name]
        assert p.verified == (p.note == "")
    assert set(shown.needs) == objective.needs <= set(NEEDS)
    assert (shown.structure, shown.scope) == (objective.structure, objective.scope)
    assert bool(shown.parts) == (objective.structure != "demonstration")
    assert bool(shown.reach) == bool(shown.parts)
    assert all(text for _, content in card_lines(shown) for text in content)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_docstring_describes_every_parameter_and_nothing_else(name):
    doc, known = read_docstring(OBJECTIVES[name]), set(defaults(name))
    assert set(doc.args) == known and set(doc.defaults) <= known
    assert doc.other == () and len(SECTIONS) == 4
    for text in (*doc.args.values(), *doc.pitfalls.values(), *doc.defaults.values()):
        assert text.endswith(".")


@pytest.mark.parametrize("name", [n for n in OBJECTIVES if "beta" in defaults(n)])
def test_beta_says_what_raising_it_does(name):
    (beta,) = [p for p in card(name).parameters if p.name == "beta"]
    assert "raising it" in beta.meaning


@pytest.mark.parametrize(
    "what", [f"{kind}/{name}" for kind in TABLES for name in TABLES[kind] if kind != "objectives"]
)
def test_every_part_has_a_card(what):
    shown = card(what)
    assert shown.summary.strip() and shown.formula and shown.latex and f"{shown.kind}/" in what
    assert shown.summary == summary(shown.kind, shown.name)
    assert dict(card_lines(shown))["formula"] == shown.formula


def test_every_loss_has_words_and_a_source():
    assert set(LOSS_WORDS) == set(LOSSES)
    assert all(w.about and w.source for w in LOSS_WORDS.values())


@pytest.mark.parametrize("kind", TABLES)
def test_a_card_is_json_and_back(kind):
    for name in TABLES[kind]:
        plain = card(f"{kind}/{name}").plain()
        back = json.loads(json.dumps(plain, allow_nan=False))
        assert back == json.loads(json.dumps(back)) and back["formula"] == plain["formula"]
        assert set(back) == set(plain)


def test_the_cards_of_savage_say_that_it_is_not_convex_though_its_source_says_so():
    for what in ("losses/savage", "gpo_savage"):
        shown = card(what)
        assert shown.loss is not None and not shown.loss.convex
        assert any("counts it among convex losses" in text for text in shown.pitfalls.values())


def test_a_card_shows_the_numbers_that_run():
    shown = card("dpo", {"beta": 0.5})
    (beta,) = shown.parameters
    assert (beta.value, beta.default) == (0.5, 0.1)
    assert shown.formula.startswith("−log σ(0.5·")
    (reach,) = shown.reach
    assert reach.satisfied.at == pytest.approx(math.log(19) / 0.5)
    assert (reach.shape.value, reach.shape.slope) == pytest.approx((math.log(2), -0.25))
    assert reach.shape.curvature == pytest.approx(0.0625) and reach.lowest == pytest.approx(4)
    lines = dict(dict(card_lines(shown))["parameters"])
    assert lines["beta = 0.5"].endswith("(The default is 0.1.)")


def test_a_response_that_is_to_fall_is_lowest_below_0():
    good, bad = card("sppo", {"beta": 0.01}).reach
    assert (good.lowest, bad.lowest) == pytest.approx((50, -50))


def test_scores_and_what_they_recover():
    def form(name, **parameters):
        shown = card(name, parameters)
        return shown.pbde, shown.recovers

    assert form("dpo") == form("luce") == form("rdpo") == form("gpo_savage") == (True, True)
    # another link, a changed label, a further term, tokens left out: no recovery
    for name in ("ipo", "gpo_hinge", "gpo_exponential", "cdpo", "dpo_nll", "simpo", "wpo", "sampo"):
        assert form(name) == (True, False)
    assert form("simpo", gamma=0.0) == (True, True)
    for name in ("orpo", "fdpo", "chipo", "tdpo1", "ld_dpo", "alphapo", "simper"):
        assert form(name) == (False, False)
    assert form("fdpo", divergence="reverse_kl") == (True, True)
    assert form("bradley_terry") == form("sft") == (None, False)
    assert "before the view" in dict(card_lines(card("sampo")))["score"]


def test_unknown_names_say_what_is_near():
    for what, said in (
        ("smpo", "no 'smpo'. Did you mean 'simpo'?"),
        ("losses/savge", "losses: no 'savge'. Did you mean 'savage'?"),
        ("loses/savage", "loses/savage: no 'loses'. Did you mean 'losses'?"),
        ("zzz", "no 'zzz'. `luce list objectives` says which there are."),
        ("reverse_kl", "'reverse_kl' is labels/reverse_kl and lists/reverse_kl. Say which."),
    ):
        with pytest.raises(LuceError) as error:
            card(what)
        assert str(error.value) == said
    assert find("mixture") == ("objectives", "mixture")
    # an objective comes before a part of the same name
    assert find("plackett_luce") == ("objectives", "plackett_luce")


def test_only_objectives_take_parameters():
    with pytest.raises(LuceError, match="only objectives take"):
        card("losses/hinge", {"delta": 2.0})


def test_an_objective_of_ones_own_has_a_card():
    mine = Objective(log_ratio(0.2), LOSSES["hinge"], name="mine", source="me")
    shown = card(mine)
    assert shown.name == "mine" and shown.source == "me" and shown.loss is not None
    assert shown.reach[0].satisfied.at == pytest.approx(5.0)
    assert shown.parts["margin loss φ"] == "hinge: max(0, 1 − z)"


def test_numbers_as_text():
    assert short(-0.00123456) == "−0.001235" and value_text([1.0, 0.25]) == "[1, 0.25]"


def test_a_docstring_is_taken_apart():
    def told(beta: float, eps: float) -> None:
        """First
        paragraph.

        Second one.

        a    alpha
        bb   beta and more

        Args:
            beta: raising it
                goes on: here.
            eps: the other.

        Optimum:
            There is
            one.

        Elsewhere:
            nothing.

        >>> told(1, 2)
        """

    doc = read_docstring(told)
    assert doc.summary == "First paragraph."
    assert doc.text == ("Second one.", "a: alpha; bb: beta and more")
    assert doc.args == {"beta": "raising it goes on: here.", "eps": "the other."}
    assert doc.optimum == "There is one." and doc.other == ("Elsewhere",)


def test_the_score_of_a_sum_is_that_of_its_first_part():
    first, second = make_objective("simpo", {}), make_objective("dpo", {})
    both = WeightedSum(((1.0, first), (1.0, second)))
    assert score_of(both) is first.score


def test_a_part_needs_its_table_only_where_two_have_it():
    assert card("exponential").kind == "losses"
    assert card("losses/exponential").plain() == card("exponential").plain()


def test_a_loss_names_the_objectives_that_use_it():
    users = card("losses/exponential").parts["used by"].split(", ")
    assert "gpo_exponential" in users and not {"dpo", "ipo"} & set(users)
    assert not card("losses/exponential").recovers


def test_what_a_part_is_given_is_not_said_to_be_of_a_paper_or_not():
    assert all(p.verified and not p.note for p in card("scores/log_ratio").parameters)


def documented():
    """A first line.

    Args:
        a: the first,
            which goes on.

        b: the second.

    Then more of the text.

    only  this
    """


def documented_list():
    """A first line.

    one  thing
    another  thing
    """


def test_text_goes_on_after_a_section_and_a_single_line_is_no_list():
    found = read_docstring(documented)
    assert found.args == {"a": "the first, which goes on.", "b": "the second."}
    assert found.text == ("Then more of the text.", "only this")
    assert read_docstring(documented_list).text == ("one: thing; another: thing",)
