"""Rows of one structure read as another: what is kept, what is left out."""

from typing import Any

import pytest

from luce.data.ledger import RowError
from luce.data.structures import as_structure
from luce.errors import DataError
from luce.types import Demonstration, Feedback, Place, Preference, Ranking, Structure

HEAD: dict[str, Any] = {"place": Place("f", 1), "id": "r", "weight": 2.0, "annotator": "x"}
PAIR = Preference(**HEAD, prompt="q", chosen="a", rejected="b")
RANKING = Ranking(**HEAD, prompt="q", responses=("a", "b", "c", "d"), scores=(1.0, 3.0, 1.0, 2.0))


def test_a_ranking_gives_its_best_against_its_worst() -> None:
    (row,) = as_structure(RANKING, "pair")
    assert row == Preference(
        **HEAD, prompt="q", chosen="b", rejected="c", margin=2.0, score_chosen=3.0,
        score_rejected=1.0,
    )  # fmt: skip


def test_a_ranking_gives_all_its_pairs_but_ties() -> None:
    rows = as_structure(RANKING, "pair", "all")
    assert all(isinstance(r, Preference) for r in rows)
    sides = {(r.chosen, r.rejected) for r in rows if isinstance(r, Preference)}
    assert sides == {("b", "d"), ("b", "a"), ("b", "c"), ("d", "a"), ("d", "c")}
    assert len({r.id for r in rows}) == 5


def test_a_pair_gives_a_desirable_and_an_undesirable_response() -> None:
    good, bad = as_structure(PAIR, "unpaired")
    assert isinstance(good, Feedback) and isinstance(bad, Feedback)
    assert (good.completion, good.label, bad.completion, bad.label) == ("a", True, "b", False)
    assert (good.weight, bad.annotator) == (2.0, "x")
    flipped = Preference(**HEAD, prompt="q", chosen="a", rejected="b", label=0.1)
    good, _ = as_structure(flipped, "unpaired")
    assert isinstance(good, Feedback) and good.completion == "b"


def test_the_preferred_response_is_demonstrated() -> None:
    for row, expected in [
        (PAIR, "a"),
        (RANKING, "b"),
        (Feedback(**HEAD, prompt="q", completion="c", label=True), "c"),
    ]:
        (made,) = as_structure(row, "demonstration")
        assert made == Demonstration(**HEAD, prompt="q", completion=expected)


def test_a_pair_is_a_ranking_of_two() -> None:
    (row,) = as_structure(PAIR, "list")
    assert row == Ranking(**HEAD, prompt="q", responses=("a", "b"), scores=(1.0, 0.0))


@pytest.mark.parametrize(
    ("row", "want", "reason"),
    [
        (Ranking(**HEAD, prompt="q", responses=("a", "b"), scores=(1.0, 1.0)), "pair", "tie"),
        (
            Preference(**HEAD, prompt="q", chosen="a", rejected="b", label=0.5),
            "unpaired",
            "tie",
        ),
        (
            Feedback(**HEAD, prompt="q", completion="a", label=False),
            "demonstration",
            "undesirable",
        ),
    ],
)
def test_what_gives_nothing_says_why(row: Any, want: Structure, reason: str) -> None:
    with pytest.raises(RowError) as caught:
        as_structure(row, want)
    assert caught.value.reason == reason


@pytest.mark.parametrize("want", ["pair", "list", "unpaired"])
def test_what_cannot_be_made_is_an_error(want: Structure) -> None:
    with pytest.raises(DataError, match=f"learns from {want} rows.*holds demonstration rows"):
        as_structure(Demonstration(**HEAD, prompt="q", completion="a"), want)
