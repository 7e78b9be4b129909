"""Whatever the layout, a token is predicted from its prompt and its own response so far."""

from collections.abc import Callable

import pytest
import torch

from luce.data.pack import pack
from luce.models.layout import SHORTEST_IN_BUCKET, Layout, Rows, lay_out
from luce.types import Group


def contexts(rows: Rows) -> list[list[int]]:
    """What stands in a plain causal row up to each place that is read, from its last restart."""
    width = rows.input_ids.shape[1]
    found = []
    for read in rows.read.tolist():
        row, column = divmod(read, width)
        ids = rows.input_ids[row].tolist()
        start = 0
        if rows.position_ids is not None:
            start = column - int(rows.position_ids[row, column])
        found.append(ids[start : column + 1])
    return found


def expected(groups: list[Group], reads: str, keep_last: bool) -> list[list[int]]:
    found = []
    for group in groups:
        for branch in group.branches:
            ids = branch.ids.tolist()
            if reads == "ends":
                found.append(group.prompt.tolist() + (ids if keep_last else ids[:-1]))
            else:
                found += [
                    group.prompt.tolist() + ids[:t] for t in range(len(ids)) if branch.scored[t]
                ]
    return found


@pytest.mark.parametrize("layout", ["packed", "padded"])
@pytest.mark.parametrize("reads", ["scored", "ends"])
@pytest.mark.parametrize("keep_last", [False, True])
def test_every_read_stands_after_its_prompt_and_its_response_so_far(
    layout: Layout, reads: str, keep_last: bool, groups: list[Group]
) -> None:
    rows = lay_out(pack(groups, keep_last), layout, reads)
    found: dict[int, list[int]] = {}
    for part in rows:
        found |= dict(zip(part.order.tolist(), contexts(part), strict=True))
    assert [found[i] for i in sorted(found)] == expected(groups, reads, keep_last)


def test_a_shared_row_is_the_packed_row_itself(groups: list[Group]) -> None:
    packed = pack(groups)
    (row,) = lay_out(packed, "shared", "scored")
    assert torch.equal(row.input_ids[0], packed.input_ids)
    assert torch.equal(row.position_ids[0], packed.position_ids)
    assert torch.equal(row.read, packed.predict)


def test_padding_stays_under_a_quarter_of_a_row(
    random_groups: Callable[..., list[Group]],
) -> None:
    rows = lay_out(pack(random_groups(30)), "padded", "scored")
    assert len(rows) > 1
    for row in rows:
        lengths = row.attention_mask.sum(1)
        assert lengths.min() >= SHORTEST_IN_BUCKET * row.input_ids.shape[1]
        assert lengths.max() == row.input_ids.shape[1]


def test_packed_rows_are_no_longer_than_they_must_be(
    random_groups: Callable[..., list[Group]], monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = pack(random_groups(30))
    (one,) = lay_out(packed, "packed", "scored")
    monkeypatch.setattr("luce.models.layout.PACKED_WIDTH", 40)
    (many,) = lay_out(packed, "packed", "scored")
    assert one.input_ids.shape[1] > 40 >= many.input_ids.shape[1] and many.attention_mask is None
    assert contexts(many) == contexts(one)
    assert many.input_ids.numel() < 1.1 * one.input_ids.numel() + 40
    monkeypatch.setattr("luce.models.layout.PACKED_WIDTH", 3)
    (narrow,) = lay_out(packed, "packed", "scored")
    longest = max(g.longest for g in random_groups(30)) - 1
    assert narrow.input_ids.shape[1] == longest and contexts(narrow) == contexts(one)
