"""The parts of the audit, on numbers worked by hand or another way."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from luce.data.audit.displacement import edit_distance, similarity
from luce.data.audit.estimates import clustered_z, share, shares
from luce.data.audit.features import FEATURES, first_word, language, script
from luce.data.audit.leaks import leaks, split_leaks
from luce.data.audit.lengths import length_share, lengths, slope
from luce.data.audit.noise import flip_rate
from luce.data.audit.pairs import pairs_of
from luce.data.audit.shingles import jaccard, near_pairs, shingles
from luce.errors import DataError
from luce.types import Demonstration, Place, Preference, Ranking

WORDS = st.lists(st.sampled_from("abc"), max_size=12)


def pair(chosen, rejected, line=1, **more):
    usual = {"prompt": f"prompt {line}", "place": Place("f.jsonl", line), "id": str(line)}
    return Preference(chosen=chosen, rejected=rejected, **{**usual, **more})


def test_the_longer_response_wins_in_two_of_three_and_ties_are_apart():
    rows = [pair("aaa", "b", 1), pair("aaa", "b b", 2), pair("a", "bb", 3), pair("aa", "bb", 4)]
    rows += [pair("a", "bbbb", 5, label=0.5), pair("a", "bbbb", 6, label=0.2)]
    found = length_share(pairs_of(rows), "characters")
    # line 2: equal length; line 4: equal length; line 5: a tie; line 6: the longer is preferred
    assert (found.longer, found.shorter, found.equal, found.ties) == (2, 1, 2, 1)
    assert found.preferred.value == pytest.approx(2 / 3)
    words = length_share(pairs_of(rows), "words")
    assert (words.longer, words.shorter, words.equal) == (0, 1, 4)
    assert words.separable.value == 1 and words.preferred.value == 0


def test_what_length_separates_is_never_less_than_a_half():
    rows = [pair("aa" if i % 2 else "a", "a" if i % 2 else "aa", i) for i in range(40)]
    found = length_share(pairs_of(rows), "characters")
    assert found.separable.value == 0.5 == found.separable.low < found.separable.high


def test_the_slope_is_the_maximum_of_the_likelihood():
    generator = np.random.default_rng(0)
    gap = generator.normal(0, 20, 300)
    p = (generator.random(300) < 1 / (1 + np.exp(-0.03 * gap))).astype(float)

    def cost(b):
        return float(p @ np.logaddexp(0, -b * gap) + (1 - p) @ np.logaddexp(0, b * gap))

    by_scipy = minimize_scalar(cost, bounds=(-1, 1), method="bounded", options={"xatol": 1e-9}).x
    found = slope(gap, p, np.arange(300))
    assert found.value == pytest.approx(by_scipy, abs=1e-6)
    assert found.low < 0.03 < found.high and found.high - found.low < 0.04


def test_a_slope_without_a_maximum_is_not_a_number():
    assert math.isnan(slope(np.array([1.0, 2.0]), np.ones(2), np.arange(2)).value)
    assert math.isnan(slope(np.array([-1.0, 2.0]), np.array([0.0, 1.0]), np.arange(2)).value)


def test_cohens_d_by_hand():
    rows = [pair("a a a", "b", 1), pair("a a a a a", "b b b", 2)]
    found = lengths(pairs_of(rows))
    # means 4 and 2, both variances 2: d = 2 / √2
    assert found.effect.value == pytest.approx(2 / math.sqrt(2))
    assert (found.mean_chosen.value, found.mean_rejected.value) == (4, 2)


def said_of(longer, shorter):
    """What is found on so many pairs of `words` words chosen against rejected: (count, words)."""
    sizes = [size for count, size in (longer, shorter) for size in [size] * count]
    rows = [pair("ab " * c, "ab " * r, line) for line, (c, r) in enumerate(sizes, 1)]
    return [f.sentence for f in lengths(pairs_of(rows)).findings()]


def test_share_and_means_that_agree_are_said_together():
    (text,) = said_of((80, (12, 9)), (20, (9, 12)))
    assert text.startswith("The longer response is preferred in 80.0 %") and "; yet " not in text
    assert "; chosen responses have 11 words on average and rejected ones 10 (" in text


def test_share_and_means_that_point_apart_are_told_as_such():
    """A few very long rejected responses move the means, not who is preferred."""
    (text,) = said_of((55, (10, 9)), (45, (5, 30)))
    assert text.startswith("Chosen responses have 8 words on average and rejected ones 18 (")
    assert "; yet the longer response is preferred in 55.0 %" in text


def test_an_interval_of_all_or_nothing_is_wilsons():
    found = share(np.ones(10), np.ones(10), np.arange(10))
    assert (found.value, found.high) == (1, pytest.approx(1))
    assert found.low == pytest.approx(0.722, abs=1e-3)  # 10 of 10


def test_rows_of_one_prompt_widen_the_interval():
    hits = np.repeat([1.0, 0, 1, 1, 0, 1, 0, 0, 1, 1], 10)
    one = shares(hits[None], np.ones((1, 100)), np.arange(100))[0]
    ten = shares(hits[None], np.ones((1, 100)), np.repeat(np.arange(10), 10))[0]
    assert one.value == ten.value == 0.6 and (one.n, ten.n) == (100, 10)
    assert ten.high - ten.low > 2 * (one.high - one.low)
    assert abs(clustered_z(hits, np.ones(100), np.repeat(np.arange(10), 10))) < 1


def test_the_clustered_z_of_single_rows_is_the_sign_tests():
    hits = np.array([1.0] * 60 + [0.0] * 40)
    assert clustered_z(hits, np.ones(100), np.arange(100)) == pytest.approx(2.0)


def naive_distance(a, b):
    rows = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, rows[0] = rows[0], i
        for j, y in enumerate(b, 1):
            before, rows[j] = rows[j], min(rows[j] + 1, rows[j - 1] + 1, before + (x != y))
    return rows[-1]


@given(WORDS, WORDS)
def test_the_edit_distance_is_levenshteins(a, b):
    assert edit_distance(a, b) == naive_distance(a, b) == edit_distance(b, a)


def test_the_edit_distance_of_long_texts():
    generator = random.Random(0)
    a, b = (generator.choices("abcdefgh", k=300) for _ in range(2))
    assert edit_distance(a, b) == naive_distance(a, b)
    assert similarity("", "") == 1 and similarity("a", "") == 0


@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_near_pairs_are_those_of_all_against_all(threshold):
    generator = random.Random(1)
    texts = [[str(generator.randrange(500)) for _ in range(60)] for _ in range(30)]
    texts += [[*text[:57], "x", "y", "z"] for text in texts[:10]]
    texts += [["w", *text[4:]] for text in texts[:5]]
    sets = [shingles(text) for text in texts]
    found = {(i, j): s for i, j, s in near_pairs(sets, threshold)}
    every = {
        (i, j): jaccard(sets[i], sets[j])
        for j in range(len(sets))
        for i in range(j)
        if jaccard(sets[i], sets[j]) >= threshold
    }
    assert found == every and len(every) >= 15


def test_marks_of_form_are_seen_and_only_there():
    plain = "It is a fine day, and there is one sentence."
    has = {
        "has a bullet list": "Two:\n- one\n- two",
        "has a numbered list": "Two:\n1. one\n2. two",
        "has code": "See:\n```python\nx = 1\n```",
        "has a heading": "## Title\nText.",
        "has bold text": "This is **bold**.",
        "has a table": "| a | b |\n|---|---|",
        "has a link": "See [this](page).",
        "has several paragraphs": "One.\n\nTwo.",
        "has a question": "Why?",
        "has an exclamation mark": "Yes!",
        "refuses": "I’m sorry, but I can’t do that.",
        "ends without a stop": "It was in the",
    }
    assert set(has) == set(FEATURES)
    for name, text in has.items():
        assert FEATURES[name](text), name
        assert not FEATURES[name](plain), name


@pytest.mark.parametrize(
    "text", ["I can help with that.", "You cannot park here.", "Sorry is hard"]
)
def test_what_is_no_refusal(text):
    assert not FEATURES["refuses"](text)


def test_first_words_scripts_and_languages():
    assert first_word("I’m here") == first_word("I'm there") == "i'm"
    assert first_word("**Yes**") == "*" and first_word(" \n") == ""
    assert script("日本語のテキスト") in ("Han", "Katakana", "Hiragana")
    assert language("这是一个答案") == "Han"
    assert language("The answer is that it is not this one.") == "English"
    assert language("La réponse est dans le texte pour vous.") == "French"
    assert language("42") is None and language("Paris") is None


def test_a_flip_rate_explains_its_own_disagreement():
    for rate in (0.0, 0.05, 0.2, 0.4):
        assert flip_rate(2 * rate * (1 - rate)) == pytest.approx(rate)


def test_prompts_of_a_benchmark_are_found_word_for_word_and_by_their_n_grams():
    long = "write a short poem about the sea and the ships that sail on it at night"
    rows = [
        pair("a", "b", 1, prompt="Name a prime."),
        pair("a", "b", 2, prompt=f"Please {long}, in English."),
        pair("a", "b", 3, prompt="write a letter to the editor about the state of the local roads"),
        pair("a", "b", 4, prompt="NAME a prime!"),
    ]
    found = leaks(pairs_of(rows), ["name a prime", long], "bench")
    assert (set(found.exact), set(found.near)) == ({0, 3}, {1})
    assert found.exact_share.n == 3 and found.exact_share.value == pytest.approx(1 / 3)
    assert {x.name for x in found.findings(pairs_of(rows))} == {"leak", "contamination"}
    assert leaks(pairs_of(rows), ["another one"], "bench").findings(pairs_of(rows)) == []


def test_a_short_benchmark_prompt_inside_a_long_one_is_found():
    short = "what is the name of the largest lake in the north of this country"
    long = " ".join(f"word{i}" for i in range(80))
    found = leaks(pairs_of([pair("a", "b", prompt=f"{long} {short} {long}")]), [short], "bench")
    assert set(found.near) == {0}


def test_prompts_in_two_splits_of_one_file():
    rows = [
        pair("a", "b", n, prompt=f"p {n % 5}", extra={"split": "test" if n == 7 else "train"})
        for n in range(8)
    ]
    found = split_leaks(pairs_of(rows))
    assert found is not None and set(found.exact) == {2}
    assert split_leaks(pairs_of(rows[:7])) is None


def test_pairs_are_turned_so_that_the_preferred_response_is_first():
    turns = ({"role": "assistant", "content": "x"}, {"role": "user", "content": "?"})
    turns += ({"role": "assistant", "content": "y"},)
    ranked = Ranking(prompt="p", responses=("a", "b", "c"), scores=(0.0, 2.0, 2.0),
                     place=Place("f", 3), id="3")  # fmt: skip
    found = pairs_of([pair("a", "b", label=0.1), pair(turns, (), 2), ranked])
    assert [(x.chosen, x.rejected, x.row) for x in found.items] == [
        ("b", "a", 0), ("x\ny", "", 1), ("b", "a", 2), ("c", "a", 2),
    ]  # fmt: skip
    assert found.items[0].p == 0.9


def test_what_is_no_preference_is_refused():
    row = Demonstration(prompt="p", completion="c", place=Place("f", 1), id="1")
    with pytest.raises(DataError, match="f:1: a Demonstration"):
        pairs_of([row])
