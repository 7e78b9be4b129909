"""Each policy keeps what it promises, and says what it cut."""

import numpy as np
import pytest

from luce.data.ledger import RowError
from luce.data.truncate import truncate
from luce.types import Branch, Group, Place

EOS = 9


def branch(ids: list[int], scored: list[bool] | None = None) -> Branch:
    marks = [True] * len(ids) if scored is None else scored
    return Branch(np.array(ids, dtype=np.int32), np.array(marks, dtype=bool))


def group(prompt: list[int], *branches: Branch) -> Group:
    return Group(np.array(prompt, dtype=np.int32), branches, "r", Place("f.jsonl", 3))


PAIR = group([0, 1, 2, 3], branch([4, 5, 6, EOS]), branch([4, 5, 7, EOS]))


@pytest.mark.parametrize("policy", ["drop", "left_prompt", "right_keep_eos", "error"])
def test_a_group_that_fits_is_left_alone(policy: str) -> None:
    assert truncate(PAIR, 8, policy, 0).group is PAIR  # type: ignore[arg-type]


def test_drop_and_error_say_how_long_it_is() -> None:
    cut = truncate(PAIR, 7, "drop", 0)
    assert (cut.group, cut.reason) == (None, "too_long")
    assert "8 tokens, max_length is 7" in cut.detail
    with pytest.raises(RowError, match="f.jsonl:3: 8 tokens, max_length is 7. Raise data.max_len"):
        truncate(PAIR, 7, "error", 0)


def test_left_prompt_keeps_bos_and_the_responses_whole() -> None:
    cut = truncate(PAIR, 6, "left_prompt", 0)
    assert cut.group is not None
    assert cut.group.prompt.tolist() == [0, 3]
    assert cut.group.branches == PAIR.branches
    assert "2 tokens cut" in cut.detail
    without = truncate(PAIR, 6, "left_prompt", None).group
    assert without is not None and without.prompt.tolist() == [2, 3]
    assert truncate(PAIR, 5, "left_prompt", 0).group is None
    only = truncate(PAIR, 5, "left_prompt", None).group
    assert only is not None and only.prompt.tolist() == [3]
    assert truncate(PAIR, 4, "left_prompt", None).group is None


def test_right_keep_eos_cuts_both_responses_to_the_same_room() -> None:
    uneven = group([0, 1], branch([4, 5, 6, 7, EOS]), branch([8, EOS]))
    cut = truncate(uneven, 5, "right_keep_eos", 0)
    assert cut.group is not None
    assert [b.ids.tolist() for b in cut.group.branches] == [[4, 5, EOS], [8, EOS]]
    assert cut.group.prompt is uneven.prompt
    assert all(b.scored.all() for b in cut.group.branches)
    assert (cut.reason, "[2, 0] tokens cut" in cut.detail) == ("response_cut", True)
    assert truncate(uneven, 3, "right_keep_eos", 0).reason == "too_long"


def test_a_pair_that_is_the_same_once_cut_is_dropped() -> None:
    cut = truncate(PAIR, 7, "right_keep_eos", 0)
    assert (cut.group, cut.reason) == (None, "identical_after_truncation")


def test_a_cut_in_the_users_turn_ends_the_response_with_the_turn_before() -> None:
    turns = branch([4, EOS, 2, 2, 5, EOS], [True, True, False, False, True, True])
    for room in (5, 4, 3, 2):
        cut = truncate(group([0], turns), 1 + room, "right_keep_eos", 0).group
        assert cut is not None
        assert cut.branches[0].ids.tolist() == [4, EOS]
        assert cut.branches[0].scored.all()
    unscored = branch([2, 2, 5, EOS], [False, False, True, True])
    assert truncate(group([0], unscored), 3, "right_keep_eos", 0).group is None
