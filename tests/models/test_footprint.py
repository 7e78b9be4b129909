"""What a step takes without running it, against what it takes when it runs."""

import copy

import pytest
import torch
from peft import TaskType

from luce.data.pack import pack
from luce.models.footprint import Peak, peak_bytes, without_numbers
from luce.models.load import LoraSettings, add_lora
from luce.models.network import checkpoint_layers
from luce.models.policy import CausalPolicy


def test_the_peak_counts_every_tensor_from_birth_to_death():
    with Peak() as peak:
        a = torch.zeros(1000)  # 4,000 bytes
        b = a + 1  # 8,000
        view = b[:10]
        del a  # 4,000
        c = torch.zeros(500, dtype=torch.float64)  # 8,000
        del b, c  # the view holds b
    assert (peak.now, peak.peak) == (4000, 8000)
    del view
    assert peak.now == 0


def test_known_tensors_and_views_of_them_are_not_counted():
    known = torch.zeros(1000)
    with Peak([known]) as peak:
        assert known.view(10, 100).t().shape == (100, 10)
    assert peak.peak == 0


@pytest.fixture(scope="module")
def row(random_groups):
    return pack(random_groups(20))


def step(row):
    return lambda policy: policy.log_probs(row).sum().backward()


def measured(policy, run) -> int:
    with Peak([*policy.module.parameters(), *policy.module.buffers()]) as peak:
        run(policy)
    return peak.peak


ARCHITECTURES = ["llama", "qwen2", "gpt2", "gpt_neox", "gemma2", "mistral_window"]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_step_without_numbers_takes_what_the_step_takes(policy, row, name):
    made = policy(name)
    before = {n: p.detach().clone() for n, p in made.trainable().items()}
    foreseen = peak_bytes(made, step(row))
    for n, p in made.trainable().items():
        assert p.grad is None and torch.equal(p, before[n])
    assert foreseen == pytest.approx(measured(made, step(row)), rel=0.01)
    assert foreseen > 2 * sum(p.numel() * 4 for p in made.trainable().values())


def test_checkpointed_layers_take_less(policy, row):
    plain, checkpointed = policy("llama"), policy("llama")
    checkpoint_layers(checkpointed.module)
    foreseen = peak_bytes(checkpointed, step(row))
    assert foreseen == pytest.approx(measured(checkpointed, step(row)), rel=0.01)
    assert foreseen < 0.8 * peak_bytes(plain, step(row))


def test_an_adapter_takes_less(network, policy, tiny_tokenizer, row):
    module = add_lora(network("llama"), LoraSettings(), TaskType.CAUSAL_LM, 0, path="llama")
    adapted = CausalPolicy(module, tiny_tokenizer, "llama", lora=LoraSettings())
    foreseen = peak_bytes(adapted, step(row))
    assert foreseen == pytest.approx(measured(adapted, step(row)), rel=0.01)


def test_mixed_precision_is_seen(policy, row):
    made = policy("llama")
    whole = peak_bytes(made, step(row))
    made.autocast = torch.bfloat16
    foreseen = peak_bytes(made, step(row))
    assert foreseen == pytest.approx(measured(made, step(row)), rel=0.01)
    assert foreseen != whole


def test_gradients_of_a_first_micro_batch_stay(policy, random_groups, row):
    other = pack(random_groups(20, seed=1))

    def two(policy):
        step(row)(policy)
        step(other)(policy)

    made = policy("llama")
    gradients = sum(p.numel() * 4 for p in made.trainable().values())
    foreseen = peak_bytes(made, two)
    assert foreseen == pytest.approx(measured(made, two), rel=0.01)
    assert foreseen >= gradients + peak_bytes(made, lambda p: p.log_probs(other))


def test_whole_distributions_of_a_reference_are_counted(policy, row):
    made, reference = policy("llama"), policy("llama")

    def run(policy):
        log_probs, columns = policy.respond(row, ["kl"], without_numbers(reference))
        (log_probs + columns["kl"]).sum().backward()

    assert peak_bytes(made, run) > peak_bytes(made, step(row))


def test_a_network_without_numbers_shares_nothing_with_the_network(policy):
    made = policy("llama")
    twin = without_numbers(made)
    assert not {id(p) for p in twin.module.parameters()} & {id(p) for p in made.module.parameters()}
    assert twin.tokenizer is made.tokenizer and copy.copy(twin).layout == made.layout
