"""Held-out prompts are never trained on; mismatched responses belong to other prompts."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luce.data.dataset import Dataset
from luce.data.splits import overlap, split_by_prompt, with_mismatched
from luce.errors import DataError
from luce.types import Branch, Group, Place


def group(prompt: int, response: int) -> Group:
    ids = np.array([response, 9], dtype=np.int32)
    said = Branch(ids, np.ones(2, dtype=bool))
    asked = np.array([prompt, 8], dtype=np.int32)
    return Group(asked, (said,), f"{prompt}-{response}", Place("f", 1))


def dataset(prompts: list[int]) -> Dataset:
    groups = tuple(group(p, i) for i, p in enumerate(prompts))
    return Dataset(groups, (), "f", "0", "pairs", "", "pair", len(groups), len(groups))


@given(
    prompts=st.lists(st.integers(0, 20), min_size=2, max_size=60).filter(lambda p: len(set(p)) > 1),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 9),
)
@settings(max_examples=150, deadline=None)
def test_no_prompt_is_on_both_sides(prompts: list[int], fraction: float, seed: int) -> None:
    whole = dataset(prompts)
    train, held = split_by_prompt(whole, fraction, seed)
    assert overlap(train.groups, held.groups) == 0
    assert train.groups and held.groups
    assert sorted(g.id for g in (*train.groups, *held.groups)) == sorted(g.id for g in whole.groups)
    assert split_by_prompt(whole, fraction, seed)[1].groups == held.groups


def test_running_text_is_its_own_prompt() -> None:
    """A text without a prompt has a BOS before it; all of them would be one prompt otherwise."""
    bos = np.array([0], dtype=np.int32)
    texts = [replace(group(0, response), prompt=bos) for response in (1, 2, 3, 3)]
    whole = replace(dataset([0]), groups=tuple(texts), structure="demonstration")
    train, held = split_by_prompt(whole, 0.3, 0)
    assert len(train.groups) + len(held.groups) == 4 and overlap(train.groups, held.groups) == 0


def test_about_the_fraction_is_held_out_and_later_rows_move_nobody() -> None:
    _, held = split_by_prompt(dataset(list(range(1000))), 0.1, 0)
    assert len(held.groups) == 100
    _, other = split_by_prompt(dataset(list(range(1000))), 0.1, 1)
    assert {g.id for g in other.groups} != {g.id for g in held.groups}
    _, more = split_by_prompt(dataset(list(range(1010))), 0.1, 0)
    assert len({g.id for g in held.groups} - {g.id for g in more.groups}) <= 2


def test_overlap_counts_the_held_out_groups_seen_in_training() -> None:
    train, held = dataset([1, 2, 3]).groups, dataset([3, 3, 4]).groups
    assert overlap(train, held) == 2


def test_a_split_that_cannot_be_made_is_an_error() -> None:
    with pytest.raises(DataError, match="all groups have the same prompt"):
        split_by_prompt(dataset([1, 1]), 0.5, 0)
    with pytest.raises(DataError, match="data.eval: 1.5 is not a fraction"):
        split_by_prompt(dataset([1, 2]), 1.5, 0)


@given(prompts=st.lists(st.integers(0, 6), min_size=1, max_size=30), seed=st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_a_mismatched_response_belongs_to_another_prompt(prompts: list[int], seed: int) -> None:
    groups = dataset(prompts).groups
    found = with_mismatched(groups, seed)
    owner = {int(g.branches[0].ids[0]): int(g.prompt[0]) for g in groups}
    for before, after in zip(groups, found, strict=True):
        assert after.branches[0] is before.branches[0]
        assert replace(after, branches=before.branches) == before
        if len(set(prompts)) > 1:
            assert owner[int(after.branches[1].ids[0])] != int(after.prompt[0])
        elif len(prompts) > 1:
            assert after.branches[1] is not after.branches[0]
    again = with_mismatched(groups, seed)
    assert [g.branches[1] is h.branches[1] for g, h in zip(found, again, strict=True)]
