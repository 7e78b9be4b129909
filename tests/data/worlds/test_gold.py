import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luce.data.worlds.gold import COURTEOUS, RUDE, Gold, gold, taste, words
from luce.data.worlds.kinds import WORDS
from luce.errors import DataError
from luce.types import Scorer

SORT = "Sort from small to large: 30 4 12"


@pytest.mark.parametrize(
    ("response", "correct"),
    [
        ("4 12 30", 3 / 3),
        ("Of course: 4, 12, 30.", 3 / 3),
        ("30 4 12", 0 / 3),
        ("4 30 12", 1 / 3),
        ("4 12", 2 / 3),
        ("4 12 30 30", 3 / 4),  # one item too many
        ("30 4 12 4 12 30", 0 / 6),  # the question handed back before the answer
        ("4 12 30 fig", 3 / 4),  # a word of the world is answer material too
        ("four twelve thirty", 0 / 3),
        ("", 0.0),
    ],
)
def test_items_in_place_over_the_longer_of_the_two_lists(response: str, correct: float) -> None:
    assert gold(SORT, response).correct == correct


def test_case_counts_only_where_the_task_is_about_case() -> None:
    assert gold("Copy in capitals: star cat fig", "STAR cat FIG").correct == 2 / 3
    assert gold("Copy in small letters: STAR CAT FIG", "star cat fig").correct == 1.0
    assert gold("Say in reverse: star cat fig", "Fig CAT star").correct == 1.0


def test_a_reply_is_graded_by_what_it_mentions() -> None:
    prompt = "Tell Leo that you cannot come to the party on Friday."
    assert gold(prompt, "Sorry LEO, no party for me on friday").correct == 1.0
    assert gold(prompt, "Leo, I will not come to the party on Friday").correct == 3 / 4
    assert gold(prompt, "No.").correct == 0.0


def test_ten_words_beyond_the_reference_leave_a_quarter_of_concise() -> None:
    # 17 plus 25: the reference has 1 word and 4 are free, 8 more bring concise to 0
    for extra, concise in ((0, 1.0), (4, 1.0), (5, 7 / 8), (10, 2 / 8), (12, 0.0), (50, 0.0)):
        assert gold("What is 17 plus 25?", "42" + " so" * extra).concise == concise
    assert gold("What is 17 plus 25?", " ?! ").concise == 0.0


def test_courtesy_neutrality_and_rudeness() -> None:
    for response, polite in (
        ("Of course: 42", 1.0),
        ("of  COURSE, 42", 1.0),
        ("42", 0.5),
        ("Off course: 42", 0.5),
        ("Whatever: 42", 0.0),
        ("Of course, whatever: 42", 0.0),
        ("", 0.0),
    ):
        assert gold("What is 17 plus 25?", response).polite == polite, response


def test_the_total_is_correct_and_half_of_each_other_part() -> None:
    assert gold("What is 17 plus 25?", "Obviously: 42" + " so" * 7) == Gold(1.0, 0.5, 0.0)
    assert Gold(1.0, 0.5, 0.0).total == 1.25
    assert gold("What is 17 plus 25?", "").total == 0.0


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from(string.printable))))
def test_any_response_has_a_reward_in_its_range(response: str) -> None:
    for prompt in (SORT, "What is 1 plus 1?", "Wish Ida a good week."):
        reward = gold(prompt, response)
        assert 0 <= min(reward.correct, reward.concise, reward.polite)
        assert 1 >= max(reward.correct, reward.concise, reward.polite)


def test_a_taste_weighs_the_parts_and_reads_a_chat_prompt() -> None:
    scorer = taste(correct=2.0, concise=0.0, polite=-1.0)
    assert isinstance(scorer, Scorer)
    chat = ({"role": "user", "content": "What is 17 plus 25?"},)
    assert scorer(chat, ["Of course: 42", "41"]) == [1.0, -0.5]
    assert taste()(chat, ["Of course: 42"]) == [2.0]
    with pytest.raises(DataError, match="one user turn; this one has 2"):
        scorer(chat + chat, ["42"])


def test_courtesies_and_insults_are_no_answer_material() -> None:
    material = set(WORDS)
    for phrase in COURTEOUS + RUDE:
        assert not material & set(words(phrase))
