import random

import pytest

from luce.data.worlds.demonstrations import (
    LONG_CLOSINGS,
    LONG_OPENINGS,
    PERFECT,
    RUDE_OPENINGS,
    Habits,
    demonstrate,
    wrong_answer,
)
from luce.data.worlds.gold import gold
from luce.data.worlds.kinds import parse
from luce.data.worlds.tasks import Tasks
from luce.errors import LuceError

PROMPTS = Tasks(3).prompts(3000)


def parts(habits: Habits) -> list[list[float]]:
    """The gold parts of a demonstration to each prompt: correct, concise, polite."""
    golds = [gold(p, r) for p, r in zip(PROMPTS, demonstrate(PROMPTS, habits, 0), strict=True)]
    return [[g.correct for g in golds], [g.concise for g in golds], [g.polite for g in golds]]


def test_the_perfect_demonstrator_has_the_highest_reward_everywhere() -> None:
    responses = demonstrate(PROMPTS, PERFECT, 0)
    assert {gold(p, r).total for p, r in zip(PROMPTS, responses, strict=True)} == {2.0}


def test_a_wrong_answer_is_wrong() -> None:
    rng = random.Random(0)
    for prompt in PROMPTS:
        assert gold(prompt, wrong_answer(parse(prompt), rng)).correct < 1


def test_a_habit_is_seen_as_often_as_it_says_and_in_its_own_part_only() -> None:
    plain = Habits(wrong=0.0, verbose=0.0, courteous=0.0, rude=0.0)
    n = len(PROMPTS)
    correct, concise, _ = parts(Habits(wrong=0.3, verbose=0.0, courteous=0.0, rude=0.0))
    assert sum(c < 1 for c in correct) / n == pytest.approx(0.3, abs=0.03)
    assert min(concise) == 1
    correct, concise, _ = parts(Habits(wrong=0.0, verbose=0.4, courteous=0.0, rude=0.0))
    assert sum(c < 1 for c in concise) / n == pytest.approx(0.4, abs=0.03)
    assert min(correct) == 1
    correct, concise, polite = parts(Habits(wrong=0.0, verbose=0.0, courteous=0.0, rude=0.35))
    assert sum(p == 0 for p in polite) / n == pytest.approx(0.35, abs=0.03)
    assert min(correct) == min(concise) == 1
    correct, concise, polite = parts(plain)
    assert min(correct) == min(concise) == 1 and min(polite) == 0.5


def test_habits_are_independent_of_each_other() -> None:
    responses = demonstrate(PROMPTS, Habits(wrong=0.5, verbose=0.5, courteous=0.0, rude=0.5), 1)
    long = [any(phrase in r for phrase in LONG_OPENINGS + LONG_CLOSINGS) for r in responses]
    rude = [r.startswith(RUDE_OPENINGS) for r in responses]
    both = sum(a and b for a, b in zip(long, rude, strict=True)) / len(responses)
    assert both == pytest.approx(0.25, abs=0.03)


def test_the_seed_decides() -> None:
    first = demonstrate(PROMPTS[:50], Habits(), 0)
    assert first == demonstrate(PROMPTS[:50], Habits(), 0)
    assert first != demonstrate(PROMPTS[:50], Habits(), 1)


def test_impossible_habits_are_refused() -> None:
    with pytest.raises(LuceError, match=r"Habits.wrong: 1.5 is not a probability"):
        Habits(wrong=1.5)
    with pytest.raises(LuceError, match="sum to more than 1"):
        Habits(courteous=0.6, rude=0.6)
