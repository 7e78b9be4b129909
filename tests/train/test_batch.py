"""Rows to what an objective takes: every field arrives, and a missing one is named with its row."""

from dataclasses import replace

import pytest
import torch

from luce.errors import DataError
from luce.objectives.build import make_objective
from luce.train.batch import check_rows, collate
from luce.types import Lists, Pairs

from .conftest import TableLearner, make_groups


def test_pairs_carry_what_their_rows_do_and_the_running_statistics():
    groups = make_groups(3)
    groups[1] = replace(groups[1], label=0.25, margin=2.0, scores=(4.0, 1.0), reference_sample=1.0)
    groups[2] = replace(groups[2], reference_sample=0.0)
    found = collate(TableLearner().respond(groups), groups, "pair", {"margin": 0.5})
    assert isinstance(found, Pairs)
    for name, expected in (
        ("label", [1, 0.25, 1]),
        ("margin", [torch.nan, 2, torch.nan]),
        ("score_chosen", [torch.nan, 4, torch.nan]),
        ("score_rejected", [torch.nan, 1, torch.nan]),
        ("reference_sample", [torch.nan, 1, 0]),
    ):
        torch.testing.assert_close(getattr(found, name), torch.tensor(expected), equal_nan=True)
    assert found.running == {"margin": 0.5}
    assert found.keys is not None and found.keys.dtype == torch.int64
    assert found.keys.tolist() == [group.key for group in groups]


def test_a_key_is_the_ids_and_the_visits_alone():
    group = make_groups(1)[0]
    assert group.key == replace(group, label=0.0, scores=(1.0, 2.0)).key
    others = [replace(group, visit=n) for n in range(3)] + [replace(group, id="g1")]
    assert len({other.key for other in others}) == 4
    assert all(0 <= other.key < 2**63 for other in others)
    assert group.key == 3888297940148409869  # the same on every machine, in every release


def test_a_list_is_all_responses_of_a_prompt_with_their_scores():
    groups = make_groups(2, responses=3)
    found = collate(TableLearner().respond(groups), groups, "list")
    assert isinstance(found, Lists)
    assert found.sizes.tolist() == [3, 3] and len(found.responses) == 6
    assert found.scores.tolist() == [*groups[0].scores, *groups[1].scores]


@pytest.mark.parametrize(
    ("objective", "responses", "message"),
    [
        ("modpo", 2, "toy.jsonl:1: no score_chosen and score_rejected, but 'modpo' reads"),
        ("xpo", 2, "toy.jsonl:1: no reference_sample, but 'xpo' asks which of chosen"),
        ("plackett_luce", 2, "toy.jsonl:1: 2 responses and 0 scores, but a ranking has a score"),
    ],
)
def test_a_row_without_what_the_objective_reads_is_named(objective, responses, message):
    with pytest.raises(DataError, match=message):
        check_rows(make_groups(2, responses), make_objective(objective, {}))


@pytest.mark.parametrize(
    ("label", "scores", "right"),
    [
        (1.0, (2.0, 1.0), True),
        (0.0, (1.0, 2.0), True),
        (1.0, (1.0, 2.0), False),
        (0.0, (2.0, 1.0), False),
        (1.0, (1.0, 1.0), False),
        (0.9, (2.0, 1.0), False),
    ],
)
def test_an_offset_asks_for_scores_that_agree_with_the_label(label, scores, right):
    groups = [replace(group, label=label, scores=scores) for group in make_groups(1)]
    if right:
        check_rows(groups, make_objective("odpo", {}))
        return
    with pytest.raises(DataError, match=f"^toy.jsonl:1: label {label:g}, score_chosen"):
        check_rows(groups, make_objective("odpo", {}))
