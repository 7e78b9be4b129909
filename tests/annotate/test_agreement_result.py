"""Everything of one table of votes: the same numbers in one object, in words, and on real votes."""

import gzip
import json
import math

import numpy as np
import pytest

from luce.annotate.agreement import (
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    observed_agreement,
    percent_agreement,
)
from luce.annotate.agreement_result import agreement
from luce.annotate.measure import Measure
from luce.annotate.ratings import Ratings, ratings_of_items
from luce.errors import LuceError
from luce.intervals import Estimate

NAN = math.nan
LEVELS = ("nominal", "ordinal", "interval")
FEW = {"resamples": 20}


def table(values, prompts=None) -> Ratings:
    votes = np.asarray(values, dtype=float)
    return Ratings(votes, tuple("abcdefghijklmnopqrstuvwxyz"[: votes.shape[1]]), prompts)


@pytest.fixture
def real(real_data):
    def read(name):
        with gzip.open(real_data(f"{name}.jsonl.gz"), "rt", encoding="utf-8") as stream:
            return [json.loads(line) for line in stream]

    return read


def groups(items=120, annotators=4, seed=0):
    """Votes on items of 40 prompts of unequal size; each item has a truth that most hit."""
    rng = np.random.default_rng(seed)
    prompts = np.sort(rng.integers(0, 40, items))
    truth = rng.integers(1, 4, items)
    votes = np.where(
        rng.random((items, annotators)) < 0.7,
        truth[:, None],
        rng.integers(1, 4, (items, annotators)),
    ).astype(float)
    votes[rng.random(votes.shape) < 0.1] = NAN
    return votes, prompts.tolist()


def test_a_table_of_votes_in_one_object():
    rows, prompts = groups()
    found = agreement(table(rows, tuple(prompts)), "ordinal", resamples=50)
    assert (found.items, found.prompts, len(found.pairs)) == (120, len(set(prompts)), 6)
    assert sum(found.votes.values()) == sum(found.categories.values()) == (~np.isnan(rows)).sum()
    votes = table(rows, tuple(prompts))
    alone = {"resamples": 50}
    assert found.fleiss == fleiss_kappa(votes, **alone)
    assert found.observed == observed_agreement(votes, **alone)
    assert found.alpha == {
        "nominal": krippendorff_alpha(votes, "nominal", **alone),
        "ordinal": krippendorff_alpha(votes, "ordinal", **alone),
    }
    for pair in found.pairs:
        names = (pair.first, pair.second)
        assert pair.agreement == percent_agreement(votes, *names, **alone)
        assert pair.kappa == cohen_kappa(votes, *names, **alone)
        assert pair.weighted_kappa == cohen_kappa(votes, *names, "linear", **alone)
    values, counts = found.matrix("kappa")
    assert values[0, 1] == values[1, 0] == found.pairs[0].kappa.value and values[2, 2] == 1
    assert counts[0, 1] == found.pairs[0].items and counts[3, 3] == found.votes["d"]
    plain = json.loads(json.dumps(found.plain(), allow_nan=False))
    assert plain["pairs"][0]["kappa"]["value"] == found.pairs[0].kappa.value
    assert plain["fleiss"]["n"] == len(set(prompts))
    assert plain["pairs"][0]["weighted_kappa"]["value"] == found.pairs[0].weighted_kappa.value


def test_a_nominal_table_has_no_weighted_kappa():
    found = agreement(table([[1, 1], [1, 2], [2, 2]]), **FEW)
    assert list(found.alpha) == ["nominal"] and found.pairs[0].weighted_kappa is None
    with pytest.raises(LuceError, match="No 'weighted_kappa' between annotators here"):
        found.matrix("weighted_kappa")
    found = agreement(table([[1, 1], [1, 2], [2, 2]]), "interval", **FEW)
    assert found.matrix("weighted_kappa")[0][0, 1] == pytest.approx(0.4)  # 1 − 3 · 1 / 5


def test_lines_for_a_terminal():
    found = agreement(table([[1, 1, NAN], [1, 2, NAN], [2, 2, 2], [1, 1, NAN]]), **FEW)
    text = "\n".join(found.lines())
    assert "3 annotators, 9 votes on 4 items of 4 prompts; 4 items have two or more." in text
    assert "Votes (nominal): 1 × 5, 2 × 4." in text
    assert "a, b: equal on 0.750 [" in text and "of 4 items, kappa 0.500 [" in text


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([[1.0, 1.0, NAN], [1.0, 1.0, 1.0]], "Every vote is 1"),
        ([[1.0, NAN], [NAN, 2.0]], "No item has votes of two annotators."),
        ([[1.0], [2.0]], "There is one annotator"),
        (np.zeros((0, 3)), "No item has votes of two annotators."),
    ],
)
def test_what_no_annotators_can_tell_says_why(rows, why):
    votes = table(rows)
    for found in (
        fleiss_kappa(votes, **FEW),
        *(krippendorff_alpha(votes, level, **FEW) for level in LEVELS),
    ):
        assert math.isnan(found.value) and why in found.why
    found = agreement(votes, "interval", **FEW)
    assert found.shared == np.sum((~np.isnan(rows)).sum(axis=1) >= 2)
    json.dumps(found.plain(), allow_nan=False)
    assert found.lines()


def shares_of(lines):
    return [float(line.split("equal on ")[1].split(" ")[0]) for line in lines]


@pytest.mark.parametrize("annotators", [6, 7])
def test_of_many_pairs_the_extremes_are_told(annotators):
    found = agreement(table(groups(annotators=annotators)[0]), **FEW)
    values = [pair.agreement.value for pair in found.pairs]
    told = shares_of(line for line in found.lines() if "equal on " in line)
    assert told == sorted(told, reverse=True)
    assert told[0] == pytest.approx(max(values), abs=0.0005)
    assert told[-1] == pytest.approx(min(values), abs=0.0005)
    head = f"Of {len(values)} pairs of annotators, the five that agree most and least:"
    assert (head in found.lines()) == (annotators == 7)  # 15 pairs are told, 21 are not
    assert len(told) == (10 if annotators == 7 else 15)


def test_pairs_without_an_item_are_counted():
    found = agreement(table([[1, 2, NAN], [1, 1, NAN], [NAN, NAN, 2]]), **FEW)
    assert found.lines()[-1] == "2 pairs of annotators have no item in common."
    assert np.isnan(found.matrix()[0][0, 2]) and found.matrix()[1][0, 2] == 0


@pytest.mark.parametrize("votes", [12, 13])
def test_votes_of_many_kinds_are_told_by_their_range(votes):
    found = agreement(table([[v / 8, v / 8] for v in range(votes)]), **FEW)
    told = found.lines()[1]
    if votes == 12:
        assert told.startswith("Votes (nominal): 0 × 2, 0.125 × 2,")
    else:
        assert told == "Votes (nominal): 13 different ones from 0 to 1.5."


def test_words_round_without_a_sign_of_zero():
    assert Measure(Estimate(-0.0001, -0.12349, 0.9, 7)).words() == "0.000 [-0.123, 0.900]"
    assert Measure(Estimate(0.5, math.nan, 0.9, 7)).words() == "0.500 [interval unknown]"


# ---- real votes


def test_three_humans_on_pandalm(real):
    """All 760 items have three votes of 0 (tie), 1 or 2, none missing; a tie is a category."""
    rows = real("multi_pandalm_3humans")
    people = ("annotator1", "annotator2", "annotator3")
    votes = ratings_of_items(
        [{name: row[name] for name in people} for row in rows],
        [(row["instruction"], row["input"]) for row in rows],
    )
    found = agreement(votes, resamples=200)
    assert (found.items, found.prompts, found.shared) == (760, 134, 760)
    shares = [pair.agreement.value for pair in found.pairs]
    assert shares == pytest.approx([0.905, 0.926, 0.916], abs=0.0005)
    assert found.fleiss.value == pytest.approx(0.857, abs=0.0005)
    assert 0.80 < found.fleiss.estimate.low < found.fleiss.estimate.high < 0.91


def test_gpt4_and_claude(real):
    """2,566 items of 645 prompts, both votes there, no ties."""
    rows = real("multi_gpt4_vs_claude")
    votes = ratings_of_items([row["preferences"] for row in rows], [row["index"] for row in rows])
    found = agreement(votes, resamples=200)
    (pair,) = found.pairs
    assert (pair.items, pair.agreement.estimate.n) == (2566, 645)
    assert pair.agreement.value == pytest.approx(0.753, abs=0.0005)
    assert pair.kappa.value == pytest.approx(0.502, abs=0.0005)
    assert 0.45 < pair.kappa.estimate.low < 0.48 < 0.52 < pair.kappa.estimate.high < 0.55


def test_twenty_four_judges_with_missing_votes(real):
    rows = real("multi_llmbar_judges")
    votes = ratings_of_items(
        [{judge: said[0] for judge, said in row["judges"].items()} for row in rows],
        [row["instruction"] for row in rows],
        values={"1": 1.0, "2": 2.0},
    )
    found = agreement(votes, resamples=50)
    assert len(found.names) == 24 and len(found.pairs) == 276
    values, counts = found.matrix("kappa")
    assert np.isfinite(values).all() and counts.min() > 300
    by_names = {(pair.first, pair.second): pair for pair in found.pairs}
    gpt4 = by_names["GPT-4/CoT", "GPT-4/Vanilla"]
    assert gpt4.items == 331 and gpt4.agreement.value == pytest.approx(0.918, abs=0.005)
