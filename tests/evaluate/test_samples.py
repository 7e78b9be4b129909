import pytest

from luce.errors import LuceError
from luce.evaluate import Generation, sample_side_by_side
from luce.evaluate.samples import as_plain_text


def test_rows_keep_prompt_order_and_both_sides():
    rows = sample_side_by_side(
        ["p1", "p2"],
        before=lambda prompts: [Generation(f"old {p}", 3, True) for p in prompts],
        after=lambda prompts: [Generation(f"new {p}", 5, False) for p in prompts],
        scorer=lambda prompt, responses: [len(r) + (prompt == "p2") for r in responses],
    )
    assert rows[1] == {
        "prompt": "p2",
        "before": "old p2",
        "after": "new p2",
        "before_tokens": 3,
        "after_tokens": 5,
        "before_ended": True,
        "after_ended": False,
        "before_reward": 7.0,
        "after_reward": 7.0,
    }


def test_without_a_scorer_rewards_are_none():
    answer = [Generation("x", 1, True)]
    (row,) = sample_side_by_side(["p"], lambda _: answer, lambda _: answer)
    assert row["before_reward"] is None and row["after_reward"] is None


def test_a_policy_that_skips_a_prompt_is_refused():
    with pytest.raises(LuceError, match="`after` gave 0 responses to 1 prompts"):
        sample_side_by_side(["p"], lambda _: [Generation("x", 1, True)], lambda _: [])


def test_conversations_become_text_for_people():
    turns = (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image"}]},
        {"role": "assistant", "content": None, "tool_calls": []},
    )
    assert as_plain_text(turns) == "system: Be brief.\n\nuser: Hi[image]\n\nassistant: "
