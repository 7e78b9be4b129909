"""Tables of votes from mappings, rows and judged pairs."""

import math

import numpy as np
import pytest

from luce.annotate.ratings import (
    Ratings,
    ratings_of_items,
    ratings_of_preferences,
    ratings_of_rows,
)
from luce.errors import DataError, LuceError
from luce.types import Place, Preference

NAN = math.nan


def same(found, expected):
    np.testing.assert_array_equal(found, expected)


def test_mappings_of_votes():
    found = ratings_of_items(
        [{"ann": 1, "ben": 2.5}, {"cy": True, "ann": None}, {}], ["x", "y", "x"]
    )
    assert found.names == ("ann", "ben", "cy") and found.prompts == ("x", "y", "x")
    same(found.values, [[1, 2.5, NAN], [NAN, NAN, 1], [NAN, NAN, NAN]])
    same(found.prompt_numbers, [0, 1, 0])
    assert (found.items, found.given) == (3, 3)
    same(found.column("ben"), [2.5, NAN, NAN])


def test_answers_become_the_numbers_they_are_given():
    found = ratings_of_items([{"ann": 0, "ben": "B"}, {"ann": NAN}], values={0: 1.5, "B": 2})
    same(found.values, [[1.5, 2], [NAN, NAN]])
    same(found.prompt_numbers, [0, 1])
    with pytest.raises(LuceError, match=r"item 0, ann: the answer 'C' is not one of 'A', 'B'\."):
        ratings_of_items([{"ann": "C"}], values={"A": 1.0, "B": 2.0})
    with pytest.raises(LuceError, match="item 1, ben: the answer 'A' is not a number"):
        ratings_of_items([{"ben": 1}, {"ben": "A"}])


def test_rows_with_a_vote_each():
    rows = [
        {"id": 3, "by": "ann", "label": 1, "text": "x"},
        {"id": 4, "by": "ann", "label": 2, "text": "x"},
        {"id": 3, "by": 7, "label": 2, "text": "x"},
    ]
    found = ratings_of_rows(rows, item="id", annotator="by", vote="label", prompt="text")
    assert found.names == ("ann", "7") and found.prompts == ("x", "x")
    same(found.values, [[1, 2], [2, NAN]])
    alone = ratings_of_rows(rows, item="id", annotator="by", vote="label")
    assert alone.prompts == (3, 4)


def test_rows_that_cannot_be_are_named():
    row = {"item": 1, "annotator": "ann", "vote": 1}
    with pytest.raises(LuceError, match="Row 1 of the votes has no 'vote'"):
        ratings_of_rows([row, {"item": 2, "annotator": "ann"}])
    with pytest.raises(LuceError, match="Row 1 of the votes: ann votes a second time on 1"):
        ratings_of_rows([row, row])
    other = {"item": 1, "annotator": "ben", "vote": 1, "prompt": "y"}
    with pytest.raises(LuceError, match="1 belongs to another prompt"):
        ratings_of_rows([row | {"prompt": "x"}, other], prompt="prompt")


def pair(chosen, rejected, annotator, label=1.0, prompt="q"):
    return Preference(
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        annotator=annotator,
        label=label,
        place=Place("pairs.jsonl", 4),
        id="r",
    )


def test_judged_pairs_meet_whichever_response_was_chosen():
    turns = ({"role": "user", "content": "hi"},)
    found = ratings_of_preferences(
        [
            pair("good", "bad", "ann"),
            pair("bad", "good", "ben"),
            pair("bad", "good", "cy", label=0.2),
            pair("good", "bad", "dee", label=0.5),
            pair("good", "bad", "ann", prompt=turns),
            pair("good", "worse", "ben"),
        ]
    )
    assert found.names == ("ann", "ben", "cy", "dee") and found.items == 3
    ann, ben, cy, dee = found.values[0]
    assert {ann, ben} == {0.0, 1.0} and cy == ann and dee == 0.5
    assert found.prompt_numbers.tolist() == [0, 1, 0]


def test_a_pair_judged_several_times_counts_once():
    found = ratings_of_preferences(
        [pair("a", "b", "ann"), pair("a", "b", "ann"), pair("b", "a", "ann")]
        + [pair("a", "b", "ben"), pair("b", "a", "ben")]
    )
    assert found.values.tolist() == [[1.0, 0.5]]


def test_pairs_without_an_annotator_are_refused():
    with pytest.raises(DataError, match="pairs.jsonl:4: no annotator"):
        ratings_of_preferences([pair("a", "b", None)])


@pytest.mark.parametrize(
    ("values", "names", "prompts", "what"),
    [
        (np.ones(3), ("a",), None, r"shape \(3,\) and 1 names"),
        (np.ones((2, 2)), ("a",), None, r"shape \(2, 2\) and 1 names"),
        (np.ones((2, 3)), ("b", "a", "a"), None, "Two columns are called 'a'"),
        (np.array([[1, math.inf]]), ("a", "b"), None, "A vote is infinite"),
        (np.ones((2, 2)), ("a", "b"), ("x",), "1 prompts for 2 items"),
    ],
)
def test_a_table_that_is_none(values, names, prompts, what):
    with pytest.raises(LuceError, match=what):
        Ratings(values, names, prompts)
