"""A policy beside its reference: from a cache, or asked on the row of the step."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from luce.data.pack import pack
from luce.errors import ReferencePolicyError
from luce.models.load import LoraSettings
from luce.models.policy import CausalPolicy, load_policy
from luce.models.reference import ReferenceCache, compute_reference, open_reference
from luce.objectives.build import make_objective
from luce.train.learner import PreparedLearner
from luce.train.learners import PolicyLearner, Ready
from luce.train.settings import TrainSettings
from luce.train.trainer import Trainer
from luce.types import Branch, Group, Place

MakePolicy = Callable[[], CausalPolicy]


@pytest.fixture
def make(tiny_tokenizer: PreTrainedTokenizerFast) -> MakePolicy:
    """Policies on the same random network."""

    def made() -> CausalPolicy:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            config = Qwen2Config(
                vocab_size=300,
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
            )
            network = Qwen2ForCausalLM(config)
        return CausalPolicy(network, tiny_tokenizer, "tiny")

    return made


def rows(n: int, seed: int = 0) -> list[Group]:
    draw = np.random.default_rng(seed)

    def ids(low: int, high: int) -> np.ndarray:
        return draw.integers(5, 300, int(draw.integers(low, high))).astype(np.int32)

    def branch() -> Branch:
        response = ids(2, 9)
        return Branch(response, np.ones(len(response), dtype=bool))

    return [
        Group(ids(1, 12), (branch(), branch()), f"g{i}", Place("rows.jsonl", i + 1))
        for i in range(n)
    ]


SETTINGS = TrainSettings(learning_rate=1e-2, batch_size=4, epochs=1.0, max_tokens_per_batch=60)


def test_a_reference_asked_in_the_step_gives_what_a_cache_gives(
    make: MakePolicy, tmp_path: Path
) -> None:
    groups = rows(12)
    reference = open_reference("initial", make())
    assert reference is not None
    cache = compute_reference(reference, groups, pack, tmp_path, max_tokens=60)
    found = []
    for known, online in ((cache, None), (None, reference)):
        learner = PolicyLearner(make(), known, online=online)
        responses = learner.respond(groups)
        assert responses.reference is not None and not responses.reference.requires_grad
        trainer = Trainer(learner, make_objective("dpo", {}), groups, SETTINGS)
        records = [trainer.evaluate(groups), *trainer.steps(), trainer.evaluate(groups)]
        found.append((responses.reference, records, learner.trainable()))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=1e-5)
    for a, b in zip(found[0][1], found[1][1], strict=True):
        key = "loss" if "loss" in a else "eval_loss"
        assert a[key] == pytest.approx(b[key], abs=1e-6)
    for name, parameter in found[0][2].items():
        torch.testing.assert_close(parameter, found[1][2][name], rtol=0, atol=2e-5)


def test_the_base_of_an_adapter_is_asked_with_the_adapter_off(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    groups = rows(5)
    model = load_policy(str(tiny_model_dir), lora=LoraSettings(r=4))
    base = open_reference("base", model)
    assert base is not None
    expected = model.log_probs(pack(groups)).detach()
    for parameter in model.trainable().values():
        parameter.data.add_(0.05)
    responses = PolicyLearner(model, None, online=base).respond(groups)
    torch.testing.assert_close(responses.reference, expected, rtol=0, atol=1e-5)
    assert (responses.policy - expected).abs().max() > 1e-2
    assert responses.policy.requires_grad and model.module.training


def test_the_cache_goes_first_and_the_network_is_asked_for_what_it_has_not(
    make: MakePolicy, tmp_path: Path
) -> None:
    groups = rows(6)
    reference = open_reference("initial", make())
    assert reference is not None
    cache = compute_reference(reference, groups[:3], pack, tmp_path)
    other = make()
    for parameter in other.module.parameters():
        parameter.data.mul_(1.2)
    shifted = copy.copy(reference)
    object.__setattr__(shifted, "policy", other)
    learner = PolicyLearner(make(), cache, online=shifted)
    assert isinstance(learner, PreparedLearner)
    assert torch.equal(learner.respond(groups[:3]).reference_tokens, cache.lookup(groups[:3]))
    asked = learner.respond(groups[2:]).reference_tokens
    assert torch.equal(asked, shifted.log_probs(pack(groups[2:])))


def test_without_a_network_what_the_cache_has_not_is_an_error(
    make: MakePolicy, tmp_path: Path
) -> None:
    cache = ReferenceCache(tmp_path, "hash", "float32")
    with pytest.raises(ReferencePolicyError, match="not among the reference log-probabilities"):
        PolicyLearner(make(), cache).respond(rows(1))
    assert PolicyLearner(make(), None).respond(rows(1)).reference is None


def test_for_a_gpu_every_tensor_is_copied_from_locked_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The algebra alone: there is no GPU to copy to here."""
    locked: list[int] = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        locked.append(tensor.numel())
        return tensor.clone()

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    packed = pack(rows(3))
    ready = Ready(packed, torch.ones(4), None)
    assert ready.ready_for(torch.device("cpu")) is ready and locked == []
    found = ready.ready_for(torch.device("cuda"))
    assert sorted(locked) == sorted(
        [4, *(t.numel() for t in vars(packed).values() if isinstance(t, torch.Tensor))]
    )
    assert torch.equal(found.packed.input_ids, packed.input_ids) and found.history is None
    assert found.packed.spans == packed.spans
