"""Agreement: published tables, the definitions spelled out, other hands' numbers, real votes."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from luce.annotate.agreement import (
    alpha_of,
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    observed_agreement,
    of_all_annotators,
    percent_agreement,
)
from luce.annotate.agreement_result import agreement
from luce.annotate.crosstab import coincidences
from luce.annotate.measure import measured
from luce.annotate.ratings import Ratings
from luce.errors import LuceError
from luce.intervals import bootstrap, wilson_interval

NAN = math.nan
LEVELS = ("nominal", "ordinal", "interval")
WEIGHTS = ("none", "linear", "quadratic")

# four observers, twelve units: Krippendorff (2011), section C and D
KRIPPENDORFF = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
]
# fourteen raters sort ten subjects into five categories; how many chose each
FOURTEEN = [
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]
# for the numbers of the packages krippendorff 0.9, irrCAC 0.4 and scikit-learn 1.9
MIXED = [
    [3, NAN, 3, 4],
    [NAN, 4, 5, 5],
    [1, NAN, 1, 1],
    [4, 3, 3, 3],
    [3, 3, 3, 3],
    [3, 4, 4, 4],
    [2, 2, 2, NAN],
    [NAN, NAN, 5, 5],
    [NAN, 1, 1, 1],
    [2, 3, 2, 2],
    [1, 2, 3, 2],
    [2, 2, 3, 3],
    [3, 3, 3, 3],
    [1, NAN, NAN, 1],
]
FEW = {"resamples": 20}


def table(values, prompts=None) -> Ratings:
    votes = np.asarray(values, dtype=float)
    return Ratings(votes, tuple("abcdefghijklmnopqrstuvwxyz"[: votes.shape[1]]), prompts)


def two_by_two(both_yes, yes_no, no_yes, both_no) -> Ratings:
    return table([[1, 1]] * both_yes + [[1, 0]] * yes_no + [[0, 1]] * no_yes + [[0, 0]] * both_no)


# ---- published tables


def test_cohens_kappa_of_two_readers_of_fifty_grant_proposals():
    """20 + 15 of 50 the same: .7; by chance .5 · .6 + .5 · .4 = .5; κ = .2 / .5."""
    votes = two_by_two(20, 5, 10, 15)
    assert percent_agreement(votes, "a", "b", **FEW).value == pytest.approx(0.7)
    for weights in WEIGHTS:  # of two categories the weights say nothing
        assert cohen_kappa(votes, "a", "b", weights, **FEW).value == pytest.approx(0.4)


def test_equal_agreement_may_be_more_or_less_than_chance():
    """Both tables agree on .6; with .54 and .46 by chance."""
    assert cohen_kappa(two_by_two(45, 15, 25, 15), "a", "b", **FEW).value == pytest.approx(6 / 46)
    assert cohen_kappa(two_by_two(25, 35, 5, 35), "a", "b", **FEW).value == pytest.approx(14 / 54)


def test_fleiss_kappa_of_fourteen_raters():
    rows = [[c for c, n in enumerate(counts) for _ in range(n)] for counts in FOURTEEN]
    votes = table(rows)
    assert observed_agreement(votes, **FEW).value == pytest.approx(0.37802, abs=5e-6)
    assert fleiss_kappa(votes, **FEW).value == pytest.approx(0.20993, abs=5e-6)


def test_krippendorffs_own_example():
    votes = table(np.transpose(KRIPPENDORFF))
    found = [round(krippendorff_alpha(votes, level, **FEW).value, 3) for level in LEVELS]
    assert found == [0.743, 0.815, 0.849]


def test_krippendorffs_examples_of_two_observers():
    meg, owen = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    votes = table(np.transpose([meg, owen]))
    assert round(krippendorff_alpha(votes, **FEW).value, 3) == 0.095
    ben, gerry = ([ord(c) for c in text] for text in ("aabbdcccedda", "babbbccceddd"))
    votes = table(np.transpose([ben, gerry]))
    assert round(krippendorff_alpha(votes, **FEW).value, 3) == 0.692


def test_the_numbers_of_other_hands_with_missing_votes():
    votes = table(MIXED)
    assert fleiss_kappa(votes, **FEW).value == pytest.approx(0.59701, abs=5e-6)  # Gwet's
    alphas = [krippendorff_alpha(votes, level, **FEW).value for level in LEVELS]
    assert alphas == pytest.approx([0.5544794188861986, 0.842243026950532, 0.862])
    kappas = [cohen_kappa(votes, "a", "b", weights, **FEW).value for weights in WEIGHTS]
    assert kappas == pytest.approx([0.23809523809523814, 0.40740740740740744, 0.6])
    assert percent_agreement(votes, "a", "b", **FEW).value == 0.5


# ---- the definitions, spelled out


def plain_kappa(a, b, weights):
    distance = {
        "none": lambda x, y: float(x != y),
        "linear": lambda x, y: abs(x - y),
        "quadratic": lambda x, y: (x - y) ** 2,
    }[weights]
    both = [(x, y) for x, y in zip(a, b, strict=True) if not (math.isnan(x) or math.isnan(y))]
    observed = sum(distance(x, y) for x, y in both)
    expected = sum(distance(x, y) for x, _ in both for _, y in both)
    return 1 - len(both) * observed / expected if expected else math.nan


def plain_fleiss(rows):
    items = [[v for v in row if not math.isnan(v)] for row in rows]
    items = [votes for votes in items if len(votes) >= 2]
    if len({v for votes in items for v in votes}) < 2:
        return math.nan
    same = np.mean([np.mean([x == y for x, y in combinations(votes, 2)]) for votes in items])
    values = {v for votes in items for v in votes}
    shares = [np.mean([votes.count(v) / len(votes) for votes in items]) for v in values]
    chance = sum(p * p for p in shares)
    return (same - chance) / (1 - chance)


def plain_alpha(rows, level):
    """Mean squared difference within items over that among all votes: Krippendorff's words."""
    items = [[v for v in row if not math.isnan(v)] for row in rows]
    items = [votes for votes in items if len(votes) >= 2]
    pool = [v for votes in items for v in votes]
    if len(set(pool)) < 2:
        return math.nan

    def apart(x, y):
        if level == "ordinal":
            low, high = min(x, y), max(x, y)
            between = sum(low <= v <= high for v in pool)
            return (between - (pool.count(x) + pool.count(y)) / 2) ** 2 if x != y else 0.0
        return float(x != y) if level == "nominal" else (x - y) ** 2

    n = len(pool)
    within = sum(
        sum(apart(x, y) for i, x in enumerate(v) for j, y in enumerate(v) if i != j) / (len(v) - 1)
        for v in items
    )
    among = sum(apart(x, y) for i, x in enumerate(pool) for j, y in enumerate(pool) if i != j)
    return 1 - (within / n) / (among / (n * (n - 1)))


tables = arrays(
    float,
    st.tuples(st.integers(1, 9), st.integers(2, 5)),
    elements=st.sampled_from([0.0, 1.0, 1.5, 4.0, NAN]),
)


@settings(deadline=None, max_examples=40)
@given(tables)
def test_each_is_its_definition(rows):
    votes = table(rows)
    for weights in WEIGHTS:
        found = cohen_kappa(votes, "a", "b", weights, resamples=2)
        expected = plain_kappa(rows[:, 0].tolist(), rows[:, 1].tolist(), weights)
        assert found.value == pytest.approx(expected, nan_ok=True, abs=1e-12)
        assert bool(found.why) == math.isnan(expected)
    assert fleiss_kappa(votes, resamples=2).value == pytest.approx(
        plain_fleiss(rows.tolist()), nan_ok=True, abs=1e-12
    )
    for level in LEVELS:
        found = krippendorff_alpha(votes, level, resamples=2)
        expected = plain_alpha(rows.tolist(), level)
        assert found.value == pytest.approx(expected, nan_ok=True, abs=1e-12)
        assert bool(found.why) == math.isnan(expected)


@settings(deadline=None, max_examples=8)
@given(tables, st.integers(0, 9))
def test_what_must_change_nothing(rows, seed):
    def of_all(values):
        votes = table(values)
        alphas = [alpha_of(coincidences(votes), votes, level) for level in LEVELS]
        asked = [of_all_annotators(votes)[1], *alphas]
        return [found.value for found in measured(asked, resamples=2)]

    def same(values, *which):
        assert [of_all(values)[i] for i in which] == pytest.approx(
            [before[i] for i in which], nan_ok=True, abs=1e-9
        )

    before = of_all(rows)
    rng = np.random.default_rng(seed)
    same(rng.permutation(rows), 0, 1, 2, 3)  # the order of items
    same(rng.permuted(rows, axis=1), 0, 1, 2, 3)  # who gave which vote
    same(np.vstack([rows, [7.0, *[NAN] * (rows.shape[1] - 1)]]), 0, 1, 2, 3)  # a lonely vote
    same(np.where(rows == 4, -9.0, rows), 0, 1)  # other names
    same(rows**3 + rows, 0, 1, 2)  # the same order
    same(7 - 2 * rows, 0, 1, 2, 3)  # another unit
    for weights in WEIGHTS:
        votes = table(rows)
        one, other = (cohen_kappa(votes, *names, weights, resamples=2) for names in ("ab", "ba"))
        assert one.value == pytest.approx(other.value, nan_ok=True, abs=1e-12)


def test_a_grade_nobody_gave_still_counts_for_weights():
    """1 and 3 lie twice as far apart as 1 and 2, whether or not somebody said 2."""
    votes = table([[1, 1], [3, 3], [4, 3], [1, 3]])
    # differences 0, 0, 1, 2; by chance over 4 × 4: (1: 0 2 2 2) twice, (3: 2 0 0 0), (4: 3 1 1 1)
    assert cohen_kappa(votes, "a", "b", "linear", **FEW).value == pytest.approx(1 - 4 * 3 / 20)


# ---- intervals


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


@pytest.mark.parametrize("name", ["percent", *WEIGHTS, "fleiss", *LEVELS])
def test_intervals_are_those_of_a_plain_bootstrap_by_prompt(name):
    """The statistic of sums gives draw for draw what the statistic of the drawn rows gives."""
    rows, prompts = groups()
    options = {"seed": 3, "resamples": 60}
    if name in ("percent", *WEIGHTS):
        kept = ~np.isnan(rows[:, :2]).any(axis=1)
    else:
        kept = (~np.isnan(rows)).sum(axis=1) >= 2
    rows, prompts = rows[kept], [p for p, k in zip(prompts, kept, strict=True) if k]
    votes = table(rows, tuple(prompts))
    if name == "percent":
        found = percent_agreement(votes, "a", "b", **options)
        statistic = lambda i: float((rows[i, 0] == rows[i, 1]).mean())  # noqa: E731
    elif name in WEIGHTS:
        found = cohen_kappa(votes, "a", "b", name, **options)
        statistic = lambda i: plain_kappa(*rows[i, :2].T.tolist(), name)  # noqa: E731
    elif name == "fleiss":
        found = fleiss_kappa(votes, **options)
        statistic = lambda i: plain_fleiss(rows[i].tolist())  # noqa: E731
    else:
        found = krippendorff_alpha(votes, name, **options)
        fast = {"resamples": 1}
        statistic = lambda i: krippendorff_alpha(table(rows[i]), name, **fast).value  # noqa: E731
    plain = bootstrap(statistic, len(rows), prompts, **options)
    assert found.estimate.n == plain.n == len(set(prompts))
    assert [found.value, found.estimate.low, found.estimate.high] == pytest.approx(
        [plain.value, plain.low, plain.high], abs=1e-12
    )


def test_items_of_one_prompt_tell_less_than_so_many_prompts():
    votes, _ = groups()
    many = np.repeat(votes, 10, axis=0)
    together = fleiss_kappa(table(many, tuple(np.repeat(np.arange(120), 10).tolist()))).estimate
    apart = fleiss_kappa(table(many)).estimate
    assert (together.n, apart.n) == (119, 1190)  # one item has one vote
    assert apart.high - apart.low < 0.5 * (together.high - together.low)


def test_n_is_that_of_the_prompts_that_count():
    votes = table([[1, 1, NAN], [2, NAN, 2], [1, 2, NAN], [NAN, NAN, 1]], ("x", "y", "x", "z"))
    assert percent_agreement(votes, "a", "b", **FEW).estimate.n == 1
    assert percent_agreement(votes, "a", "c", **FEW).estimate.n == 1
    assert fleiss_kappa(votes, **FEW).estimate.n == 2


def test_perfect_agreement_is_not_certain():
    votes = table([[1, 1]] * 6 + [[2, 2]] * 6)
    share = percent_agreement(votes, "a", "b", **FEW).estimate
    assert (share.value, share.low, share.high) == (1.0, *wilson_interval(12, 12))
    low = 1 - (1 - wilson_interval(12, 12)[0]) / 0.5  # half of all pairs would differ by chance
    for found in (
        cohen_kappa(votes, "a", "b", **FEW),
        fleiss_kappa(votes, **FEW),
        krippendorff_alpha(votes, "interval", **FEW),
    ):
        estimate = found.estimate
        assert [estimate.value, estimate.low, estimate.high] == pytest.approx([1.0, low, 1.0])
    single = table([[1, 1]] * 20 + [[2, 2]], ("x",) * 21)
    one = cohen_kappa(single, "a", "b").estimate
    assert (one.n, one.low, one.high) == (1, -1.0, 1.0)
    half = percent_agreement(table([[1, 1], [1, 2]], ("x", "x")), "a", "b")
    assert (half.estimate.low, half.estimate.high) == (0.0, 1.0)  # of one prompt: anything
    assert cohen_kappa(table([[1, 1], [1, 2], [2, 2]], ("x",) * 3), "a", "b").words() == (
        "0.400 [interval unknown]"
    )


def test_annotators_who_never_agree():
    votes = table([[1, 2], [2, 1], [1, 2]])
    share = percent_agreement(votes, "a", "b", **FEW).estimate
    assert (share.value, share.low, share.high) == (0.0, *wilson_interval(0, 3))
    assert cohen_kappa(votes, "a", "b", **FEW).value == pytest.approx(-0.8)


# ---- what cannot be said


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([[1.0, 1.0], [1.0, 1.0]], "Every vote is 1"),
        ([[1.0, NAN], [NAN, 2.0]], "no item on which both a and b have a vote"),
        ([[NAN, NAN]], "no item on which both a and b"),
        (np.zeros((0, 2)), "no item on which both a and b"),
    ],
)
@pytest.mark.parametrize("weights", WEIGHTS)
def test_a_kappa_that_cannot_be_known_says_why(rows, why, weights):
    found = cohen_kappa(table(rows), "a", "b", weights, **FEW)
    assert math.isnan(found.value) and math.isnan(found.estimate.low) and why in found.why
    assert found.plain()["value"] is None and why in found.plain()["why"]
    assert found.words().startswith("unknown (")


def test_one_category_is_one_category_whatever_rounding_does():
    """0.1 + 0.1 + … leaves traces; a kappa of noise over noise must not come of it."""
    for annotators in range(2, 12):
        one = [[0.1] * annotators] * 9
        other = [[0.1] * (annotators - 1) + [0.3]]
        assert math.isnan(fleiss_kappa(table(one), **FEW).value)
        # draws without the item that differs have no kappa, not one of 1
        assert fleiss_kappa(table(one + other), resamples=200).estimate.high < 0.1
        for level in LEVELS:
            assert math.isnan(krippendorff_alpha(table(one), level, **FEW).value)
            assert krippendorff_alpha(table(one + other), level, resamples=200).estimate.high < 0.1


def test_large_numbers_of_little_spread_keep_their_digits():
    votes = np.array(MIXED)
    for weights in WEIGHTS:
        near, far = (
            cohen_kappa(table(votes + offset), "a", "b", weights, **FEW).value
            for offset in (0, 1e8)
        )
        assert far == pytest.approx(near, abs=1e-9)
    near, far = (
        krippendorff_alpha(table(votes + offset), "interval", **FEW).value for offset in (0, 1e8)
    )
    assert far == pytest.approx(near, abs=1e-9)


def test_wrong_names_are_answered():
    votes = table([[1, 2]])
    with pytest.raises(LuceError, match="no weights 'linar'. Did you mean 'linear'?"):
        cohen_kappa(votes, "a", "b", "linar")
    for unknown in (krippendorff_alpha, agreement):
        with pytest.raises(LuceError, match="no level 'ordnal'. Did you mean 'ordinal'?"):
            unknown(votes, "ordnal")
    with pytest.raises(LuceError, match="No votes of 'z'. There are: a, b."):
        percent_agreement(votes, "a", "z")
