"""A packed row predicts each scored token from what stood before it when packed alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luce.data.pack import balance, bins, micro_batches, pack
from luce.types import Branch, Group, Place


def branch(ids: list[int], scored: list[bool] | None = None) -> Branch:
    marks = [True] * len(ids) if scored is None else scored
    return Branch(np.array(ids, dtype=np.int32), np.array(marks, dtype=bool))


def group(prompt: list[int], *branches: Branch) -> Group:
    return Group(np.array(prompt, dtype=np.int32), branches, "a", Place("f", 1))


TOKENS = st.lists(st.integers(0, 999), min_size=1, max_size=6)
BRANCHES = st.lists(st.tuples(TOKENS, st.integers(0, 63)), min_size=1, max_size=4)
GROUPS = st.lists(st.tuples(TOKENS, BRANCHES), min_size=1, max_size=4)


def built(drawn: list[tuple[list[int], list[tuple[list[int], int]]]]) -> list[Group]:
    """Groups with these prompts, and branches scored where the bits of a number are set, and at
    the end."""
    return [
        group(
            prompt,
            *(
                branch(ids, [bool(bits >> i & 1) or i == len(ids) - 1 for i in range(len(ids))])
                for ids, bits in branches
            ),
        )
        for prompt, branches in drawn
    ]


@given(drawn=GROUPS, keep_last=st.booleans())
@settings(max_examples=200, deadline=None)
def test_every_scored_token_is_predicted_from_the_token_before_it(
    drawn: list[tuple[list[int], list[tuple[list[int], int]]]], keep_last: bool
) -> None:
    found = built(drawn)
    row = pack(found, keep_last=keep_last)
    at = response = 0
    for span, one in zip(row.spans, found, strict=True):
        start = span.start + span.prompt
        for count, said in zip(span.branches, one.branches, strict=True):
            alone = [*one.prompt.tolist(), *said.ids.tolist()]
            own = {*range(span.start, span.start + span.prompt), *range(start, start + count)}
            for place in np.flatnonzero(said.scored) + len(one.prompt):
                index = int(row.predict[at])
                assert index in own
                assert int(row.targets[at]) == alone[place]
                assert int(row.input_ids[index]) == alone[place - 1]
                assert int(row.position_ids[index]) == place - 1
                at += 1
            assert int(row.lengths[response]) == said.scored.sum()
            end = int(row.ends[response])
            assert int(row.position_ids[end]) == len(alone) - (1 if keep_last else 2)
            assert int(row.input_ids[end]) == alone[len(alone) - (1 if keep_last else 2)]
            start, response = start + count, response + 1
        assert span.end == start
    assert at == len(row.targets) == int(row.lengths.sum())
    assert row.spans[-1].end == len(row.input_ids) == len(row.position_ids)
    assert row.sizes == tuple(len(one.branches) for one in found)


def test_a_pair_is_laid_out_as_written() -> None:
    row = pack([group([1, 2], branch([3, 4, 9]), branch([5, 9])), group([6], branch([9]))])
    assert row.input_ids.tolist() == [1, 2, 3, 4, 5, 6]
    assert row.position_ids.tolist() == [0, 1, 2, 3, 2, 0]
    assert row.predict.tolist() == [1, 2, 3, 1, 4, 5]
    assert row.targets.tolist() == [3, 4, 9, 5, 9, 9]
    assert row.lengths.tolist() == [3, 2, 1]
    assert row.ends.tolist() == [3, 4, 5]


def test_a_reward_row_keeps_the_last_token() -> None:
    row = pack([group([1, 2], branch([3, 9]), branch([9]))], keep_last=True)
    assert row.input_ids.tolist() == [1, 2, 3, 9, 9]
    assert row.position_ids.tolist() == [0, 1, 2, 3, 2]
    assert row.ends.tolist() == [3, 4]


@given(counts=st.lists(st.integers(1, 50), max_size=40), budget=st.integers(1, 60))
@settings(max_examples=200, deadline=None)
def test_every_item_is_in_one_bin_within_the_budget(counts: list[int], budget: int) -> None:
    found = bins(counts, budget)
    assert sorted(i for items in found for i in items) == list(range(len(counts)))
    assert all(len(items) == 1 or sum(counts[i] for i in items) <= budget for items in found)
    # First fit leaves no two bins that would fit into one.
    sums = sorted(sum(counts[i] for i in items) for items in found)
    assert len(sums) < 2 or sums[0] + sums[1] > budget
    assert found == bins(counts, budget)


@pytest.mark.parametrize(("budget", "expected"), [(4, [[0], [1]]), (6, [[0, 1]])])
def test_micro_batches_count_the_prompt_once(budget: int, expected: list[list[int]]) -> None:
    found = [group([1], branch([2]), branch([3])), group([1, 1], branch([2]))]
    assert micro_batches(found, budget) == expected


@given(counts=st.lists(st.integers(1, 50), max_size=40), parts=st.integers(1, 7))
@settings(max_examples=200, deadline=None)
def test_parts_are_balanced_to_within_the_largest_item(counts: list[int], parts: int) -> None:
    found = balance(counts, parts)
    assert len(found) == parts and all(items == sorted(items) for items in found)
    assert sorted(i for items in found for i in items) == list(range(len(counts)))
    sums = [sum(counts[i] for i in items) for items in found]
    assert max(sums) - min(sums) <= max(counts, default=0)
    assert found == balance(counts, parts)


def test_ranks_get_the_same_tokens_where_dealing_by_turns_would_not() -> None:
    counts = [400, 20, 380, 30, 410, 10, 390, 40]
    sums = [sum(counts[i] for i in items) for items in balance(counts, 2)]
    assert max(sums) - min(sums) <= 30
    assert sum(counts[::2]) - sum(counts[1::2]) == 1480


@given(counts=st.lists(st.integers(2, 50), max_size=30), budget=st.integers(1, 120))
@settings(max_examples=200, deadline=None)
def test_micro_batches_are_as_few_as_first_fit_needs_and_even(
    counts: list[int], budget: int
) -> None:
    groups = [group(list(range(n - 1)), branch([1])) for n in counts]
    found = micro_batches(groups, budget)
    full = bins(counts, budget)
    assert sorted(i for items in found for i in items) == list(range(len(counts)))
    assert len(found) == len(full)

    def longest(rows: list[list[int]]) -> int:
        return max((sum(counts[i] for i in items) for items in rows), default=0)

    assert longest(found) <= max(budget, max(counts, default=0))
    assert longest(found) <= longest(full)
