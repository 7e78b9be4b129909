"""Samples are the policy's: their log-probabilities, their frequencies, and what they depend on."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from luce.data.pack import pack
from luce.errors import ModelError
from luce.models import engine
from luce.models.engine import Sample, SamplingSettings, draw, generate
from luce.models.policy import CausalPolicy
from luce.types import Group

PROMPTS = [[5, 6, 7, 8], [9], [10, 11, 12], [13, 14, 15, 16], [17, 18], [19, 20, 21]]
STOP = tuple(range(0, 60))
"""A fifth of the vocabulary ends a response, so that rows finish at different times."""


def ids(results: list[list[Sample]]) -> list[list[tuple[int, ...]]]:
    return [[sample.ids for sample in row] for row in results]


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "mistral_window"])
@pytest.mark.parametrize("temperature", [1.0, 0.7, 0.0])
def test_log_probs_are_those_of_the_policy(
    name: str,
    temperature: float,
    policy: Callable[..., CausalPolicy],
    group: Callable[..., Group],
) -> None:
    model = policy(name)
    settings = SamplingSettings(temperature=temperature, max_new_tokens=12)
    results = generate(model, PROMPTS, 3, settings, seed=1, stop_ids=STOP)
    rows = [
        group(prompt, *[s.ids for s in samples])
        for prompt, samples in zip(PROMPTS, results, strict=True)
    ]
    sampled = torch.tensor([x for row in results for s in row for x in s.log_probs])
    torch.testing.assert_close(sampled, model.log_probs(pack(rows)).detach(), rtol=1e-4, atol=1e-4)


def test_a_response_ends_with_its_stop_token_or_is_cut(
    policy: Callable[..., CausalPolicy],
) -> None:
    settings = SamplingSettings(max_new_tokens=6)
    results = generate(policy("llama"), PROMPTS, 8, settings, stop_ids=STOP)
    samples = [s for row in results for s in row]
    assert [len(row) for row in results] == [8] * len(PROMPTS)
    assert {s.ended for s in samples} == {True, False}
    for sample in samples:
        assert len(sample.ids) == len(sample.log_probs) <= 6
        assert not set(sample.ids[:-1]) & set(STOP)
        assert sample.ended == (sample.ids[-1] in STOP)
        assert sample.ended or len(sample.ids) == 6


def test_a_sample_depends_on_the_seed_its_prompt_and_its_number_alone(
    policy: Callable[..., CausalPolicy],
) -> None:
    model = policy("llama")
    settings = SamplingSettings(max_new_tokens=8)
    together = ids(generate(model, PROMPTS, 3, settings, seed=4, stop_ids=STOP))
    for budget in (1, 40, 100):
        small = SamplingSettings(max_new_tokens=8, max_batch_tokens=budget)
        assert ids(generate(model, PROMPTS, 3, small, seed=4, stop_ids=STOP)) == together
    assert ids(generate(model, PROMPTS[:2], 3, settings, seed=4, stop_ids=STOP)) == together[:2]
    first, second = ids(generate(model, [[5, 6]] * 2, 3, settings, seed=4, stop_ids=STOP))
    assert first != second
    fewer = ids(generate(model, PROMPTS, 2, settings, seed=4, stop_ids=STOP))
    assert fewer == [row[:2] for row in together]
    assert ids(generate(model, PROMPTS, 3, settings, seed=5, stop_ids=STOP)) != together
    assert (
        len({tuple(row) for row in together}) == len(PROMPTS) and together[0][0] != together[0][1]
    )


def test_prompts_are_read_once_and_finished_rows_leave_the_batch(
    policy: Callable[..., CausalPolicy], monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[int, ...]] = []
    step = engine._step

    def noted(model: CausalPolicy, ids: Tensor, mask: Tensor, cache: Any) -> Any:
        shapes.append(tuple(ids.shape))
        return step(model, ids, mask, cache)

    monkeypatch.setattr(engine, "_step", noted)
    done: list[tuple[int, int]] = []
    settings = SamplingSettings(max_new_tokens=30)
    samples = generate(
        policy("llama"),
        PROMPTS,
        10,
        settings,
        stop_ids=STOP,
        progress=lambda drawn, total: done.append((drawn, total)),
    )
    assert shapes[0] == (len(PROMPTS), 4) and shapes[1][1] == 1
    rows = [shape[0] for shape in shapes[1:]]
    assert rows == sorted(rows, reverse=True) and rows[0] <= 60 and rows[-1] < 20
    assert sum(rows) < 1.5 * sum(len(s.ids) - 1 for row in samples for s in row)
    assert done == [(60, 60)]


def test_greedy_takes_the_likeliest_token_every_time(
    policy: Callable[..., CausalPolicy],
) -> None:
    model = policy("llama")
    settings = SamplingSettings(temperature=0.0, max_new_tokens=5)
    results = generate(model, PROMPTS[:2], 2, settings, stop_ids=())
    assert results[0][0] == results[0][1] and not results[0][0].ended
    with torch.no_grad(), model.plain_attention():
        row = list(PROMPTS[0])
        for token in results[0][0].ids:
            assert int(model.inner(torch.tensor([row])).logits[0, -1].argmax()) == token
            row.append(token)


def test_mode_and_attention_come_back(policy: Callable[..., CausalPolicy]) -> None:
    model = policy("llama")
    generate(model, PROMPTS[:1], 1, SamplingSettings(max_new_tokens=2), stop_ids=STOP)
    assert model.module.training and model.inner.config._attn_implementation == "luce"


def test_no_sample_is_asked_of_no_prompt(policy: Callable[..., CausalPolicy]) -> None:
    assert generate(policy("llama"), [], 3, stop_ids=STOP) == []


def test_prompts_that_leave_no_room_are_named(policy: Callable[..., CausalPolicy]) -> None:
    with pytest.raises(ModelError, match="Prompt 1 is empty"):
        generate(policy("gpt2"), [[5], []], stop_ids=STOP)
    with pytest.raises(ModelError, match="Prompt 0 has 200 tokens.*256 positions. Lower it to 56 "):
        generate(policy("gpt2"), [[5] * 200], stop_ids=STOP)
    with pytest.raises(ModelError, match="top_p = 0"):
        SamplingSettings(top_p=0.0)


def test_draws_have_the_frequencies_of_the_distribution() -> None:
    logits = torch.tensor([2.0, -1.0, 0.5, float("-inf"), 1.0])
    n = 20_000
    uniform = (torch.arange(n) + 0.5) / n
    for temperature in (1.0, 0.5):
        settings = SamplingSettings(temperature=temperature)
        tokens, log_probs = draw(logits.expand(n, -1), uniform, settings)
        found = torch.bincount(tokens, minlength=5) / n
        torch.testing.assert_close(found, (logits / temperature).softmax(0), atol=1e-4, rtol=0.0)
        torch.testing.assert_close(log_probs, logits.log_softmax(0)[tokens])


def test_top_p_keeps_the_smallest_set_that_holds_it() -> None:
    probs = torch.tensor([0.1, 0.4, 0.2, 0.3])
    uniform = torch.linspace(0, 0.999, 1000)
    settings = SamplingSettings(top_p=0.65)
    tokens, log_probs = draw(probs.log().expand(1000, -1), uniform, settings)
    found = torch.bincount(tokens, minlength=4) / 1000
    torch.testing.assert_close(found, torch.tensor([0, 4 / 7, 0, 3 / 7]), atol=2e-3, rtol=0.0)
    torch.testing.assert_close(log_probs, probs.log()[tokens])


def test_a_uniform_number_of_one_by_rounding_takes_the_last_possible_token() -> None:
    logits = torch.tensor([[0.0, 0.0, float("-inf")]])
    tokens, _ = draw(logits, torch.tensor([1.0]), SamplingSettings())
    assert tokens.tolist() == [1]
