import pytest

from luce.data.worlds.kinds import KINDS, WORDS, count_prompts, parse
from luce.errors import DataError


def test_the_count_is_the_number_of_distinct_prompts() -> None:
    # a sort of 50·49·48 numbers, 7 kinds on 41·40·39 words, 41·40 runs of 2 … 7 words,
    # 50² sums, 50·51/2 differences; 40 names with 12 gifts of 6 looks, 10 events on 7 days, and
    # 8 times in 6 moods
    worked = 117_600 + 7 * 63_960 + 1_640 * 6 + 2_500 + 1_275 + 40 * (72 + 70 + 48)
    everything = {kind.prompt(number) for kind in KINDS.values() for number in range(kind.size)}
    assert count_prompts() == worked == 586_535 == len(everything)


def test_words_of_the_world_differ_and_their_number_is_prime() -> None:
    assert len(set(WORDS)) == len(WORDS) == 41  # prime: equal steps visit all words before a repeat


@pytest.mark.parametrize(
    ("prompt", "kind", "answer", "reference"),
    [
        ("Sort from small to large: 30 4 12", "sort_numbers", "4 12 30", "4 12 30"),
        ("Say again: star cat fig", "repeat", "star cat fig", "star cat fig"),
        ("Sort by the alphabet: star cat fig", "sort_words", "cat fig star", "cat fig star"),
        ("Say in reverse: star cat fig", "reverse", "fig cat star", "fig cat star"),
        ("What is the first word of: star cat fig", "first", "star", "star"),
        ("What is the last word of: star cat fig", "last", "fig", "fig"),
        ("Copy in capitals: star cat fig", "capitals", "STAR CAT FIG", "STAR CAT FIG"),
        ("Copy in small letters: STAR CAT FIG", "small_letters", "star cat fig", "star cat fig"),
        ("How many words are these: star cat fig owl", "count", "4", "4"),
        ("What is 17 plus 25?", "add", "42", "42"),
        ("How much is 17 minus 5?", "subtract", "12", "12"),
        (
            "Thank Ada for the big cake.",
            "thank",
            "thank Ada big cake",
            "Thank you for the big cake, Ada.",
        ),
        (
            "Tell Leo that you cannot come to the party on Friday.",
            "decline",
            "sorry Leo party Friday",
            "I am sorry, Leo, I cannot come to the party on Friday.",
        ),
        ("Wish Ida a merry week.", "wish", "merry week Ida", "Have a merry week, Ida."),
    ],
)
def test_a_prompt_states_its_answer(prompt: str, kind: str, answer: str, reference: str) -> None:
    task = parse(prompt)
    assert (task.kind.name, " ".join(task.answer), task.reference) == (kind, answer, reference)


def test_every_kind_understands_its_first_middle_and_last_prompt() -> None:
    for name, kind in KINDS.items():
        for number in (0, kind.size // 2, kind.size - 1):
            assert parse(kind.prompt(number)).kind.name == name


@pytest.mark.parametrize(
    "prompt", ["", "Hello", "What is one plus 1?", "Say in reverse: zebra cat fig", "Thank Ada."]
)
def test_a_foreign_prompt_is_an_error_that_quotes_it(prompt: str) -> None:
    with pytest.raises(DataError, match="cannot grade") as error:
        parse(prompt)
    assert repr(prompt) in str(error.value)
