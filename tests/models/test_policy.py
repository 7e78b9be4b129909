"""A policy's numbers are the network's own, whatever the layout, the order and the splitting."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from luce.data.pack import pack
from luce.errors import ModelError
from luce.models.layout import LAYOUTS, Layout
from luce.models.policy import CausalPolicy, load_policy
from luce.models.reference import ReferencePolicy
from luce.types import Group

NAMES = ("llama", "qwen2", "gpt2", "gpt_neox", "gemma2", "mistral_window")
SOFTMAX_IN_FLOAT32 = ("gemma2",)
"""Transformers' eager attention takes its softmax in float32 whatever the weights are in."""

NORM_IN_FLOAT32 = ("llama", "qwen2", "gemma2", "mistral_window")
"""Its RMSNorm works in float32, which shows in gradients, where other roundings sum up."""

MakePolicy = Callable[..., CausalPolicy]


def by_hand(model: PreTrainedModel, groups: list[Group]) -> Tensor:
    """Every response by itself, unpadded, through the network and log_softmax."""
    found = []
    for group in groups:
        for branch in group.branches:
            prompt, ids = group.prompt.tolist(), branch.ids.tolist()
            logits = model(torch.tensor([prompt + ids])).logits[0].log_softmax(-1)
            for t, token in enumerate(ids):
                if branch.scored[t]:
                    found.append(logits[len(prompt) + t - 1, token])
    return torch.stack(found)


def gradients(values: Tensor, policy: CausalPolicy) -> dict[str, Tensor]:
    weights = torch.linspace(-1, 1, len(values), dtype=values.dtype)
    grads = torch.autograd.grad((values * weights).sum(), list(policy.trainable().values()))
    return dict(zip(policy.trainable(), grads, strict=True))


def assert_same_gradients(a: dict[str, Tensor], b: dict[str, Tensor], relative: float) -> None:
    for name in a:
        scale = float(a[name].abs().max()) + 1e-30
        assert float((a[name] - b[name]).abs().max()) <= relative * scale, name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_log_probs_are_those_of_each_response_by_itself(
    name: str, layout: Layout, policy: MakePolicy, groups: list[Group]
) -> None:
    model = policy(name, torch.float64, layout=layout)
    assert model.layout == layout
    with model.plain_attention():
        expected = by_hand(model.inner, groups)
    atol = 1e-5 if name in SOFTMAX_IN_FLOAT32 else 1e-9
    torch.testing.assert_close(model.log_probs(pack(groups)), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("dtype", "relative"),
    [(torch.float32, 1e-5), (torch.float64, 1e-9)],
    ids=["float32", "float64"],
)
def test_gradients_are_the_same_in_every_layout(
    name: str, dtype: torch.dtype, relative: float, policy: MakePolicy, groups: list[Group]
) -> None:
    packed = pack(groups)
    truth = policy(name, dtype, layout="padded")
    expected = gradients(truth.log_probs(packed), truth)
    other = policy(name, dtype)
    assert other.layout in ("shared", "packed") and other.head == "kernel"
    found = gradients(other.log_probs(packed), other)
    least = 1e-5 if name in NORM_IN_FLOAT32 else 1e-9
    assert_same_gradients(expected, found, max(relative, least))


def test_float32_numbers_agree_between_layouts(policy: MakePolicy, groups: list[Group]) -> None:
    packed = pack(groups)
    values = [policy("qwen2", layout=layout).log_probs(packed) for layout in LAYOUTS]
    assert values[0].dtype == torch.float32
    torch.testing.assert_close(values[0], values[1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(values[0], values[2], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_order_and_splitting_of_groups_change_nothing(
    layout: Layout, policy: MakePolicy, random_groups: Callable[..., list[Group]]
) -> None:
    model = policy("llama", torch.float64, layout=layout)
    groups = random_groups(8, seed=3)
    together = model.log_probs(pack(groups))
    alone = {g.id: model.log_probs(pack([g])) for g in groups}
    torch.testing.assert_close(together, torch.cat([alone[g.id] for g in groups]))
    shuffled = [groups[i] for i in (5, 0, 7, 2, 6, 1, 3, 4)]
    parts = [model.log_probs(pack(part)) for part in (shuffled[:3], shuffled[3:4], shuffled[4:])]
    torch.testing.assert_close(torch.cat(parts), torch.cat([alone[g.id] for g in shuffled]))
    # a sum over parts has the gradient of the whole
    whole = torch.autograd.grad(together.sum(), list(model.trainable().values()))
    halves = [
        torch.autograd.grad(
            model.log_probs(pack(part)).sum(), list(model.trainable().values()), allow_unused=True
        )
        for part in (shuffled[:3], shuffled[3:])
    ]
    for total, a, b in zip(whole, *halves, strict=True):
        torch.testing.assert_close(total, a + b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["gpt2", "gemma2", "mistral_window"])
def test_short_packed_rows_with_free_ends_give_the_same(
    name: str, policy: MakePolicy, groups: list[Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = policy(name, torch.float64, layout="packed")
    expected = model.log_probs(pack(groups))
    monkeypatch.setattr("luce.models.layout.PACKED_WIDTH", 20)
    atol = 1e-5 if name in SOFTMAX_IN_FLOAT32 else 1e-9
    torch.testing.assert_close(model.log_probs(pack(groups)), expected, rtol=0, atol=atol)


def test_unscored_tokens_are_context_and_not_counted(
    policy: MakePolicy, group: Callable[..., Group]
) -> None:
    model = policy("llama", torch.float64)
    every = model.log_probs(pack([group([5, 6], [7, 8, 9, 1])]))
    some = model.log_probs(pack([group([5, 6], [7, 8, 9, 1], scored=[False, True, False, True])]))
    torch.testing.assert_close(some, every[[1, 3]])


def test_a_response_does_not_depend_on_its_neighbours(
    policy: MakePolicy, group: Callable[..., Group]
) -> None:
    model = policy("llama", torch.float64)
    one = model.log_probs(pack([group([5, 6], [7, 8, 1], [20, 21, 22, 1]), group([9], [3, 1])]))
    two = model.log_probs(pack([group([5, 6], [7, 8, 1], [90, 91, 92, 1]), group([99], [4, 1])]))
    torch.testing.assert_close(one[:3], two[:3])
    assert not torch.allclose(one[3:7], two[3:7])


def test_the_models_own_forward_is_used_where_the_kernel_cannot_be(
    policy: MakePolicy, groups: list[Group]
) -> None:
    model = policy("gpt2", torch.float64)
    packed = pack(groups)
    expected, grads = model.log_probs(packed), gradients(model.log_probs(packed), model)
    for layout in LAYOUTS:
        other = policy("gpt2", torch.float64, layout=layout)
        other.head = "forward"
        torch.testing.assert_close(other.log_probs(packed), expected)
        assert_same_gradients(grads, gradients(other.log_probs(packed), other), 1e-9)


def on_the_output_layer(
    policy: MakePolicy, name: str, layout: str = "auto", **settings: Any
) -> CausalPolicy:
    """A float64 policy with an adapter that is no longer the identity."""
    plain = policy(name, torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of peft, about a head that shares its weights
        module = get_peft_model(plain.inner, LoraConfig(r=2, lora_alpha=6, **settings))
    module = module.to(torch.float64)
    with torch.no_grad():
        for number, parameter in enumerate(module.parameters()):
            if parameter.requires_grad:
                generator = torch.Generator().manual_seed(number)
                parameter.normal_(0, 0.2, generator=generator)
    return CausalPolicy(module, plain.tokenizer, "adapted", layout=layout)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("llama", {"target_modules": ["q_proj", "lm_head"]}),
        ("qwen2", {"target_modules": ["q_proj", "lm_head"]}),  # a head that is the embedding
        ("llama", {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}),
    ],
    ids=["adapter", "tied", "copy"],
)
def test_an_adapter_on_the_output_layer_is_read_by_the_kernel(
    name: str, settings: dict[str, Any], layout: Layout, policy: MakePolicy, groups: list[Group]
) -> None:
    model = on_the_output_layer(policy, name, layout, **settings)
    packed = pack(groups)
    assert model.head == "kernel" and model.layout == layout
    found = model.log_probs(packed)
    mine = gradients(found, model)
    model.head = "forward"
    expected = model.log_probs(packed)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    assert_same_gradients(gradients(expected, model), mine, 1e-9)
    assert all(bool(gradient.any()) for name, gradient in mine.items())
    model.head = "kernel"
    with model.adapter_disabled():
        without = model.log_probs(packed)
        torch.testing.assert_close(without, policy(name, torch.float64).log_probs(packed))
    assert not torch.allclose(without, found)


def test_kl_to_the_network_under_an_adapter_on_the_output_layer(
    policy: MakePolicy, groups: list[Group]
) -> None:
    settings: dict[str, Any] = {"target_modules": ["lm_head"]}
    model = on_the_output_layer(policy, "llama", **settings)
    base = ReferencePolicy("base", "", "", model)
    _, kernel = model.respond(pack(groups), ["kl"], base)
    mine = gradients(kernel["kl"], model)
    model.head = "forward"
    _, forward = model.respond(pack(groups), ["kl"], base)
    torch.testing.assert_close(kernel["kl"], forward["kl"], rtol=0, atol=1e-9)
    assert_same_gradients(gradients(forward["kl"], model), mine, 1e-9)


def test_a_variant_of_lora_on_the_output_layer_goes_through_the_forward(
    policy: MakePolicy, groups: list[Group]
) -> None:
    model = on_the_output_layer(policy, "llama", target_modules=["lm_head"], use_dora=True)
    assert model.head == "forward" and "variant of LoRA" in model.head_reason
    model.log_probs(pack(groups)).sum().backward()
    reached = {name for name, p in model.trainable().items() if p.grad is not None}
    assert any("lm_head.lora_A" in name for name in reached)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
def test_gradient_checkpointing_changes_no_bit(
    name: str, policy: MakePolicy, groups: list[Group]
) -> None:
    from luce.models.network import checkpoint_layers

    packed = pack(groups)
    plain, thrifty = policy(name), policy(name)
    checkpoint_layers(thrifty.module)
    a, b = plain.log_probs(packed), thrifty.log_probs(packed)
    assert torch.equal(a, b)
    mine, theirs = gradients(a, plain), gradients(b, thrifty)
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_mixed_precision_stays_near_float32_and_is_float32(
    policy: MakePolicy, groups: list[Group]
) -> None:
    model = policy("llama")
    exact = model.log_probs(pack(groups))
    model.autocast = torch.bfloat16
    rough = model.log_probs(pack(groups))
    assert rough.dtype == torch.float32 and model.dtype == "float32+bfloat16"
    assert 0 < (rough - exact).abs().max().item() < 0.5


def test_sixteen_bit_weights_are_checked_and_run(policy: MakePolicy, groups: list[Group]) -> None:
    model = policy("llama", torch.bfloat16)
    assert model.layout == "shared" and model.head == "kernel"
    values = model.log_probs(pack(groups))
    exact = policy("llama").log_probs(pack(groups))
    assert values.dtype == torch.float32
    assert (values - exact).abs().max().item() < 0.5


def test_a_network_may_be_made_a_policy_twice(policy: MakePolicy, groups: list[Group]) -> None:
    first = policy("llama")
    second = CausalPolicy(first.inner, first.tokenizer, "again")
    assert second.layout == first.layout == "shared"
    assert torch.equal(second.plain_log_probs(pack(groups)), first.plain_log_probs(pack(groups)))


def test_the_layout_is_a_known_word(policy: MakePolicy) -> None:
    with pytest.raises(ModelError, match="no 'shard'. Did you mean 'shared'"):
        policy("llama", layout="shard")


def test_dropout_is_off_and_named_unless_asked_for(policy: MakePolicy, groups: list[Group]) -> None:
    packed = pack(groups)
    quiet = policy("gpt2")
    assert "transformer.drop" in quiet.silenced and quiet.module.training
    assert torch.equal(quiet.log_probs(packed), quiet.log_probs(packed))
    noisy = policy("gpt2", dropout=True)
    assert noisy.silenced == () and noisy.layout == "packed" and "dropout" in noisy.layout_reason
    assert not torch.equal(noisy.log_probs(packed), noisy.log_probs(packed))
    with torch.no_grad():
        torch.testing.assert_close(noisy.log_probs(packed), quiet.log_probs(packed))
    assert noisy.module.training


def test_the_hash_is_of_every_parameter(policy: MakePolicy) -> None:
    one, two = policy("llama"), policy("llama")
    assert one.hash() == two.hash()
    list(two.trainable().values())[-1].data.view(-1)[-1] += 1e-3
    assert one.hash() != two.hash()
    assert one.hash() != policy("llama", torch.bfloat16).hash()


def test_a_loaded_policy_gives_what_plain_transformers_gives(
    tiny_model_dir: object, groups: list[Group]
) -> None:
    model = load_policy(str(tiny_model_dir))
    plain = AutoModelForCausalLM.from_pretrained(str(tiny_model_dir))
    torch.testing.assert_close(
        model.log_probs(pack(groups)), by_hand(plain, groups), rtol=1e-5, atol=1e-4
    )
    assert (model.layout, model.head) == ("shared", "kernel")
    assert list(model.trainable()) == sorted(name for name, _ in plain.named_parameters())
