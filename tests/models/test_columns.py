"""Σ_v π(v)² and KL(π_ref ‖ π) of every scored token against a softmax over the whole vocabulary."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from luce.data.pack import pack
from luce.errors import ModelError
from luce.models.layout import Layout
from luce.models.logprob import COLUMNS, Output, linear_values, logit_values
from luce.models.policy import CausalPolicy, LoraSettings, load_policy
from luce.models.reference import ReferencePolicy, open_reference
from luce.types import Group

MakePolicy = Callable[..., CausalPolicy]
TOKENS, HIDDEN, VOCABULARY = 11, 6, 37


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layer(seed: int, softcap: float | None, scale: float, bias: bool, trained: bool) -> Output:
    """An output layer on random hidden states that carry a gradient."""
    return Output(
        random(TOKENS, HIDDEN, seed=seed).requires_grad_(trained),
        random(VOCABULARY, HIDDEN, seed=seed + 1).requires_grad_(trained),
        random(VOCABULARY, seed=seed + 2).requires_grad_(trained) if bias else None,
        softcap,
        scale,
    )


def naive(output: Output) -> Tensor:
    logits = output.hidden @ output.weight.t()
    if output.bias is not None:
        logits = logits + output.bias
    logits = logits * output.scale
    if output.softcap is not None:
        logits = output.softcap * torch.tanh(logits / output.softcap)
    return logits


def weighed(log_prob: Tensor, columns: dict[str, Tensor]) -> Tensor:
    """A sum in which every token of log π and of KL has a weight of its own."""
    return (log_prob * random(TOKENS, seed=8) + columns["kl"] * random(TOKENS, seed=9)).sum()


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("scale", [1.0, 0.3])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("chunk", [1, 4, 512])
def test_kernel_values_and_gradients_are_those_of_the_full_softmax(
    softcap: float | None, scale: float, bias: bool, chunk: int
) -> None:
    targets = torch.arange(TOKENS) * 3
    mine, theirs = (layer(1, softcap, scale, bias, trained=True) for _ in range(2))
    reference = layer(5, softcap, 0.5, bias, trained=False)
    found, columns = linear_values(mine, targets, COLUMNS, reference, (chunk, 16))
    log_p, log_q = naive(theirs).log_softmax(-1), naive(reference).log_softmax(-1)
    expected = {
        "sum_p2": log_p.exp().square().sum(1),
        "entropy": -(log_p.exp() * log_p).sum(1),
        "kl": (log_q.exp() * (log_q - log_p)).sum(1),
    }
    assert not columns["sum_p2"].requires_grad and not columns["entropy"].requires_grad
    torch.testing.assert_close(found, log_p[torch.arange(TOKENS), targets], rtol=0, atol=1e-9)
    for name in COLUMNS:
        torch.testing.assert_close(columns[name], expected[name], rtol=0, atol=1e-9)
    weighed(found, columns).backward()
    weighed(log_p[torch.arange(TOKENS), targets], expected).backward()
    for a, b in ((mine.hidden, theirs.hidden), (mine.weight, theirs.weight)):
        torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=1e-9)
    if mine.bias is not None and theirs.bias is not None:
        torch.testing.assert_close(mine.bias.grad, theirs.bias.grad, rtol=0, atol=1e-9)


@pytest.mark.parametrize("softcap", [None, 2.0])
def test_a_frozen_layer_gives_the_same_gradient_of_the_hidden_states(
    softcap: float | None,
) -> None:
    reference = layer(5, softcap, 0.5, False, trained=False)
    gradients = []
    for trained in (True, False):
        output = layer(1, softcap, 0.7, False, trained=trained)
        output.hidden.requires_grad_()
        weighed(
            *linear_values(output, torch.arange(TOKENS), COLUMNS, reference, tile=(4, 16))
        ).backward()
        assert (output.weight.grad is None) != trained
        gradients.append(output.hidden.grad)
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


def test_no_logits_are_kept_for_the_backward_pass() -> None:
    reference = layer(5, None, 1.0, False, trained=False)
    output = layer(1, None, 1.0, False, trained=True)
    kept: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        linear_values(output, torch.zeros(TOKENS).long(), COLUMNS, reference, tile=(4, 16))
    assert max(kept) < TOKENS * VOCABULARY


def test_kl_without_a_fitting_reference_is_refused() -> None:
    output, targets = layer(1, None, 1.0, False, trained=False), torch.zeros(TOKENS).long()
    with pytest.raises(ModelError, match="no reference distribution"):
        linear_values(output, targets, ["kl"])
    with pytest.raises(ModelError, match="no reference distribution"):
        logit_values(naive(output), targets, ["kl"])
    small = Output(output.hidden, output.weight[:-1])
    with pytest.raises(ModelError, match="has 36 tokens, the policy's 37"):
        linear_values(output, targets, ["kl"], small)


def by_hand(
    model: PreTrainedModel, reference: PreTrainedModel, groups: list[Group]
) -> dict[str, Tensor]:
    """Every response by itself, unpadded, through both networks and a softmax over everything."""
    found: dict[str, list[Tensor]] = {"log_prob": [], "sum_p2": [], "entropy": [], "kl": []}

    for group in groups:
        for branch in group.branches:
            prompt, ids = group.prompt.tolist(), branch.ids.tolist()
            p = model(torch.tensor([prompt + ids])).logits[0].softmax(-1)
            q = reference(torch.tensor([prompt + ids])).logits[0].softmax(-1).detach()
            for t, token in enumerate(ids):
                if branch.scored[t]:
                    at = len(prompt) + t - 1
                    found["log_prob"].append(p[at, token].log())
                    found["sum_p2"].append(p[at].square().sum())
                    found["entropy"].append(-(p[at] * p[at].log()).sum())
                    found["kl"].append((q[at] * (q[at] / p[at]).log()).sum())
    return {name: torch.stack(values) for name, values in found.items()}


@pytest.mark.parametrize("head", ["kernel", "forward"])
@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("gpt_neox", "shared"),
        ("gpt2", "shared"),
        ("llama", "packed"),
        ("llama", "padded"),
    ],
)
def test_columns_of_a_policy_and_their_gradients_are_the_networks_own(
    name: str, layout: Layout, head: str, policy: MakePolicy, groups: list[Group]
) -> None:
    model = policy(name, torch.float64, layout=layout)
    assert model.head == "kernel"
    model.head = head  # type: ignore[assignment]
    other = policy(name, torch.float64, layout="padded")  # a layout of its own, another order
    for parameter in other.trainable().values():
        parameter.data.mul_(0.9)
    reference = ReferencePolicy("path", "other", other.hash(), other)
    weights = list(model.trainable().values())
    with model.plain_attention():
        expected = by_hand(model.inner, other.inner, groups)
        slope = torch.linspace(-1, 1, len(expected["kl"]), dtype=torch.float64)
        wanted = torch.autograd.grad(
            (slope * (expected["kl"] + expected["log_prob"])).sum(), weights
        )
    found, columns = model.respond(pack(groups), COLUMNS, reference)
    torch.testing.assert_close(found, expected["log_prob"], rtol=0, atol=1e-9)
    for column in COLUMNS:
        torch.testing.assert_close(columns[column], expected[column], rtol=0, atol=1e-9)
    assert float(expected["kl"].min().detach()) > 1e-3
    gradients = torch.autograd.grad((slope * (columns["kl"] + found)).sum(), weights)
    for mine, theirs in zip(gradients, wanted, strict=True):
        scale = float(theirs.abs().max()) + 1e-30
        assert float((mine - theirs).abs().max()) <= 1e-9 * max(1.0, scale)


def test_without_columns_nothing_changes(policy: MakePolicy, groups: list[Group]) -> None:
    model = policy("llama")
    found, columns = model.respond(pack(groups))
    assert columns == {} and torch.equal(found, model.log_probs(pack(groups)))
    again, both = model.respond(pack(groups), ["sum_p2"])
    assert torch.equal(found, again) and both["sum_p2"].dtype == torch.float32


def shift(model: CausalPolicy) -> None:
    for parameter in model.trainable().values():
        parameter.data.add_(0.05)


@pytest.mark.parametrize("lora", [None, LoraSettings(r=4)])
def test_a_resident_reference_stays_what_the_policy_was(
    tiny_model_dir: Path, groups: list[Group], lora: LoraSettings | None
) -> None:
    """The copy of a fully trained policy, or the network under a fresh adapter: KL 0 at the start,
    afterwards that from the policy as it stood."""
    model = load_policy(str(tiny_model_dir), lora=lora)
    before = load_policy(str(tiny_model_dir))
    initial = open_reference("initial", model)
    assert initial is not None
    resident, packed = initial.resident(), pack(groups)
    assert (resident.policy is model) == (lora is not None)
    _, columns = model.respond(packed, ["kl"], resident)
    torch.testing.assert_close(columns["kl"], torch.zeros_like(columns["kl"]), rtol=0, atol=1e-6)
    shift(model)
    _, columns = model.respond(packed, ["kl"], resident)
    _, expected = model.respond(packed, ["kl"], ReferencePolicy("path", "", "", before))
    torch.testing.assert_close(columns["kl"], expected["kl"], rtol=1e-4, atol=1e-6)
    assert float(columns["kl"].max().detach()) > 1e-2
    assert model.module.training and not resident.policy.trainable() or lora is not None


def test_a_path_and_a_base_are_resident_already(tiny_model_dir: Path) -> None:
    model = load_policy(str(tiny_model_dir), lora=LoraSettings(r=4))
    for kind in ("base", str(tiny_model_dir)):
        reference = open_reference(kind, model)
        assert reference is not None and reference.resident() is reference
