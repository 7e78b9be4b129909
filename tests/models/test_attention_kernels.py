"""Every way to compute attention over a shared row gives the numbers and gradients of one mask."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.functional import scaled_dot_product_attention

from luce.models.attention import SharedRow, Variant, group_mask
from luce.models.attention import branch as branch_module
from luce.models.attention import exact as exact_module
from luce.models.attention import flex as flex_module
from luce.models.attention.branch import Plan, branch, plan
from luce.models.attention.exact import dense, exact
from luce.models.attention.flex import block_mask, flex
from luce.models.attention.varlen import segments, varlen
from luce.types import Span

Attend = Callable[..., Tensor]


def spans(*groups: tuple[int, tuple[int, ...]]) -> tuple[Span, ...]:
    found, start = [], 0
    for prompt, branches in groups:
        found.append(Span(start, prompt, branches))
        start = found[-1].end
    return tuple(found)


ROWS = {
    "ragged": spans((3, (2, 1)), (2, (4,)), (1, (0, 2, 2))),
    "one token": spans((1, (0,))),
    "nothing to add": spans((2, (0, 0)), (1, (0,)), (4, (3,))),
    "eight responses": spans((5, (3, 1, 4, 1, 5, 9, 2, 6)), (1, (1, 1)), (70, (40, 33, 0, 65))),
    "equal shapes": spans(*[(6, (3, 3))] * 3, (4, (1,)), *[(6, (3, 3))] * 2),
    "long": spans((150, (3, 70)), (2, (200, 1))),
}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "scaled": {"scale": 0.3},
    "window": {"window": 4},
    "narrowest window": {"window": 1},
    "chunk": {"chunk": 3},
    "softcap": {"softcap": 0.7, "scale": 1.3},
    "sinks": {"sinks": True},
    "all": {"sinks": True, "softcap": 1.1, "window": 5, "chunk": 6},
}


def inputs(
    row: SharedRow,
    heads: tuple[int, int] = (4, 2),
    widths: tuple[int, int] = (8, 8),
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, ...]:
    """Queries, keys, values and sinks; tokens before heads in memory, as transformers has them."""
    draw = torch.Generator().manual_seed(len(row))
    made = [
        torch.randn(1, len(row), n, width, generator=draw, dtype=torch.float64)
        for n, width in ((heads[0], widths[0]), (heads[1], widths[0]), (heads[1], widths[1]))
    ]
    sinks = torch.randn(heads[0], generator=draw, dtype=torch.float64)
    rows = [x.to(dtype).transpose(1, 2).requires_grad_() for x in made]
    return *rows, sinks.to(dtype).requires_grad_()


def settings(name: str, sinks: Tensor) -> Variant:
    given: dict[str, Any] = dict(VARIANTS[name])
    if "sinks" in given:
        given["sinks"] = sinks
    return Variant(**given)


def outcome(attend: Attend, given: tuple[Tensor, ...], row: SharedRow, name: str) -> list[Tensor]:
    """Output and the gradients of everything that took part."""
    variant = settings(name, given[3])
    out = attend(*given[:3], row, variant)
    wanted = given if variant.sinks is not None else given[:3]
    weights = torch.sin(torch.arange(out.numel(), dtype=out.dtype)).view_as(out)
    return [out, *torch.autograd.grad(out, wanted, weights)]


def assert_same(
    attend: Attend, row: SharedRow, name: str, tolerance: float = 1e-11, **given: Any
) -> None:
    made = inputs(row, **given)
    found, truth = outcome(attend, made, row, name), outcome(dense, made, row, name)
    for one, other in zip(found, truth, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def plain_varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_ends: Tensor,
    key_ends: Tensor,
    most_queries: int,
    most_keys: int,
    *,
    scale: float | None = None,
    window_size: tuple[int, int] | None = None,
    is_causal: bool = False,
    enable_gqa: bool = False,
) -> Tensor:
    """What torch's kernel for ragged sequences computes, one sequence at a time: the last query
    stands at the last key."""
    assert query_ends.dtype == key_ends.dtype == torch.int32 and (enable_gqa or is_causal)
    back, ahead = window_size or (-1, 0)
    assert ahead == 0 and is_causal == (window_size is None)
    parts = []
    for i in range(len(query_ends) - 1):
        q = query[query_ends[i] : query_ends[i + 1]]
        k, v = (x[key_ends[i] : key_ends[i + 1]] for x in (key, value))
        assert len(q) <= most_queries and len(k) <= most_keys
        at = torch.arange(len(q))[:, None] + len(k) - len(q)
        other = torch.arange(len(k))[None, :]
        mask = (other <= at) & ((other >= at - back) | (back < 0))
        q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))
        out = scaled_dot_product_attention(
            q, k, v, attn_mask=mask, scale=scale, enable_gqa=q.shape[1] != k.shape[1]
        )
        parts.append(out[0].transpose(0, 1))
    return torch.cat(parts)


@pytest.mark.parametrize("name", ["plain", "window", "narrowest window", "chunk"])
def test_the_dense_reference_is_one_attention_for_each_response(name: str) -> None:
    for groups in ROWS.values():
        row = SharedRow(groups)
        query, key, value, _ = inputs(row)
        given = VARIANTS[name]
        out = dense(query, key, value, row, settings(name, query))
        for span in groups:
            at = span.start + span.prompt
            for length in span.branches:
                own = [*range(span.start, span.start + span.prompt), *range(at, at + length)]
                at += length
                i, j = torch.arange(len(own))[:, None], torch.arange(len(own))[None, :]
                mask = (j <= i) & (j > i - given.get("window", 9999))
                mask &= j // given.get("chunk", 9999) == i // given.get("chunk", 9999)
                alone = scaled_dot_product_attention(
                    *(x[:, :, own] for x in (query, key, value)), attn_mask=mask, enable_gqa=True
                )
                torch.testing.assert_close(out[:, own], alone.transpose(1, 2))


@pytest.mark.parametrize("groups", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("name", ["plain", "scaled", "sinks"])
def test_pieces_merged_are_the_whole(name: str, groups: tuple[Span, ...]) -> None:
    assert_same(branch, SharedRow(groups), name)


@pytest.mark.parametrize("piece", [1, 2, 5, 64])
def test_however_a_row_is_cut_its_attention_is_the_same(
    piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(branch_module, "PIECE", piece)
    monkeypatch.setattr(branch_module, "LEAST", 1)
    monkeypatch.setattr(branch_module, "SMALL", 1)
    for groups in ROWS.values():
        assert_same(branch, SharedRow(groups), "sinks", heads=(3, 1))


def places(calls: Plan, kind: str) -> list[tuple[int, int]]:
    """(query, key) of every pair of tokens that a plan brings together."""
    found = []
    for causal, several in ((True, calls.own), (False, calls.across)):
        for call in several:
            for n in range(call.count):
                query, key = call.query + n * call.query_step, call.key + n * call.key_step
                found += [
                    (query + i, key + j)
                    for i in range(call.queries)
                    for j in range(call.keys)
                    if not causal or j <= i
                ]
    return found


@pytest.mark.parametrize("groups", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("piece", [1, 4, 64])
def test_a_plan_brings_every_visible_pair_together_once(
    piece: int, groups: tuple[Span, ...]
) -> None:
    found = places(plan(groups, piece), "all")
    row = SharedRow(groups)
    every = torch.arange(len(row))
    seen = row.tokens(torch.device("cpu")).sees(every[:, None], every[None, :], None, None)
    assert sorted(found) == sorted(map(tuple, seen.nonzero().tolist()))


def test_groups_of_equal_shape_take_one_call() -> None:
    calls = plan(spans(*[(10, (4, 4))] * 5), piece=64)
    assert [c.count for c in calls.across] == [5]
    # five prompts; ten responses, of which each group's two are nearer than the next group
    assert sum(c.count for c in calls.own) == 15 and len(calls.own) < 15


@pytest.mark.parametrize("groups", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("name", VARIANTS)
def test_group_by_group_every_variant_is_the_definition(
    name: str, groups: tuple[Span, ...]
) -> None:
    assert_same(exact, SharedRow(groups), name)


def test_scores_held_at_a_time_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact_module, "SCORES", 300)
    for groups in ROWS.values():
        assert_same(exact, SharedRow(groups), "all")


@pytest.mark.parametrize("attend", [branch, exact])
@pytest.mark.parametrize("heads", [(4, 4), (6, 2), (3, 1)])
@pytest.mark.parametrize("widths", [(8, 8), (8, 5), (4, 6)])
def test_heads_may_share_keys_and_values_may_have_another_width(
    attend: Attend, heads: tuple[int, int], widths: tuple[int, int]
) -> None:
    row = SharedRow(ROWS["ragged"])
    assert_same(attend, row, "sinks", heads=heads, widths=widths)


@pytest.mark.parametrize("attend", [branch, exact])
def test_float32_is_right_to_rounding(attend: Attend) -> None:
    row = SharedRow(ROWS["long"])
    assert_same(attend, row, "sinks", tolerance=2e-4, dtype=torch.float32)


@pytest.mark.parametrize("attend", [branch, exact])
@pytest.mark.parametrize("name", ["plain", "sinks"])
def test_sixteen_bits_are_as_near_the_truth_as_torch_is(attend: Attend, name: str) -> None:
    row = SharedRow(ROWS["long"])
    half = inputs(row, dtype=torch.bfloat16)
    exactly = tuple(x.detach().double().requires_grad_() for x in half)
    truth = outcome(dense, exactly, row, name)
    found, plain = outcome(attend, half, row, name), outcome(dense, half, row, name)
    for ours, theirs, right in zip(found, plain, truth, strict=True):
        assert ours.dtype == torch.bfloat16
        off = (ours.double() - right).norm() / right.norm()
        assert off < 1.5 * (theirs.double() - right).norm() / right.norm() + 1e-3


def test_an_output_lies_as_transformers_goes_on_with_it() -> None:
    row = SharedRow(ROWS["ragged"])
    query, key, value, _ = inputs(row)
    for attend in (branch, exact, dense):
        out = attend(query, key, value, row, Variant())
        assert out.shape == (1, len(row), 4, 8) and out.is_contiguous()


@pytest.mark.parametrize("groups", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("name", ["plain", "scaled", "window", "narrowest window"])
@pytest.mark.parametrize("old", [False, True], ids=["this torch", "torch 2.10"])
def test_gathered_keys_are_the_prompt_and_the_response(
    name: str, groups: tuple[Span, ...], old: bool
) -> None:
    known = frozenset() if old else frozenset({"scale", "window_size", "enable_gqa"})
    if old and "window" in name:
        return

    def attend(q: Tensor, k: Tensor, v: Tensor, row: SharedRow, variant: Variant) -> Tensor:
        return varlen(q, k, v, row, variant, kernel=plain_varlen, known=known)

    assert_same(attend, SharedRow(groups), name)


def test_a_prompt_and_its_first_response_are_one_sequence() -> None:
    found = segments(ROWS["ragged"])
    assert found.keys.tolist() == [
        0,
        1,
        2,
        3,
        4,
        0,
        1,
        2,
        5,
        *range(6, 12),
        12,
        12,
        13,
        14,
        12,
        15,
        16,
    ]
    assert found.query_ends.tolist() == [0, 5, 6, 12, 13, 15, 17]
    assert found.key_ends.tolist() == [0, 5, 9, 15, 16, 19, 22]
    assert (found.most_queries, found.most_keys) == (6, 6)


@pytest.mark.parametrize("groups", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("name", ["plain", "window", "chunk"])
@pytest.mark.parametrize("block", [8, 128])
def test_blocks_hold_what_is_seen_and_whole_ones_hold_nothing_else(
    name: str, groups: tuple[Span, ...], block: int
) -> None:
    row = SharedRow(groups)
    variant = settings(name, torch.empty(0))
    made = block_mask(row, variant.window, variant.chunk, torch.device("cpu"), block)
    seen = torch.zeros((-(-len(row) // block) * block,) * 2, dtype=torch.bool)
    for span in groups:
        part = slice(span.start, span.end)
        seen[part, part] = group_mask(span, variant.window, variant.chunk)
    assert made.full_kv_num_blocks is not None and made.full_kv_indices is not None
    full = listed(made.full_kv_num_blocks, made.full_kv_indices)
    partly = listed(made.kv_num_blocks, made.kv_indices)
    assert not (full & partly).any()
    by_block = seen.unflatten(0, (-1, block)).unflatten(2, (-1, block)).transpose(1, 2)
    every, some = by_block.flatten(2).all(2), by_block.flatten(2).any(2)
    assert torch.equal(full, every) and not (some & ~full & ~partly).any()
    i, j = torch.arange(len(row))[:, None], torch.arange(len(row))[None, :]
    zero = torch.zeros((), dtype=torch.long)
    assert torch.equal(made.mask_mod(zero, zero, i, j), seen[: len(row), : len(row)])


def listed(counts: Tensor, indices: Tensor) -> Tensor:
    """The numbers in front, as a mask of blocks × blocks."""
    found = torch.zeros(indices.shape[-2:], dtype=torch.bool)
    for i, count in enumerate(counts[0, 0].tolist()):
        found[i, indices[0, 0, i, :count].long()] = True
    return found


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("name", ["plain", "all"])
def test_flex_attention_over_the_blocks_is_the_definition(name: str) -> None:
    row = SharedRow(ROWS["ragged"])
    with torch.no_grad():
        query, key, value, sinks = (x.detach().float() for x in inputs(row))
        variant = settings(name, sinks)
        found = flex(query, key, value, row, variant)
        truth = dense(query, key, value, row, variant)
    torch.testing.assert_close(found, truth, rtol=2e-5, atol=2e-5)


@pytest.mark.slow
def test_rows_of_another_length_are_not_compiled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(flex_module.flex_attention, dynamic=True, backend=counter)
    monkeypatch.setattr(flex_module, "flex_attention", compiled)
    for name in ("plain", "window"):
        frames = []
        # 3, 5 and 7 blocks: torch takes numbers that are equal by chance for the same
        for count in (2, 4, 6):
            row = SharedRow(spans(*[(60 + count, (40, 35))] * count))
            with torch.no_grad():
                query, key, value, sinks = (x.detach().float() for x in inputs(row))
                variant = settings(name, sinks)
                found = flex(query, key, value, row, variant)
                truth = dense(query, key, value, row, variant)
            torch.testing.assert_close(found, truth, rtol=2e-5, atol=2e-5)
            frames.append(counter.frame_count)
        assert frames[0] == frames[1] == frames[2] > 0


@pytest.mark.parametrize(
    ("attend", "name"), [(branch, "sinks"), (exact, "window"), (exact, "softcap"), (exact, "all")]
)
def test_what_is_kept_for_the_backward_pass_grows_with_tokens_not_their_square(
    attend: Attend, name: str
) -> None:
    row = SharedRow(spans((200, (150, 150))))
    given = inputs(row, heads=(2, 2), widths=(2, 2))
    kept: list[int] = []

    def keep(saved: Tensor) -> Tensor:
        kept.append(saved.numel())
        return saved

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
        attend(*given[:3], row, settings(name, given[3]))
    # queries, keys, values, output; log-sum-exp; sinks
    assert 0 < sum(kept) <= 4 * 2 * 2 * len(row) + 2 * len(row) + 2
