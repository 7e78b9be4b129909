"""Products of language models: the formula, the samples, and whose log-probabilities these are."""

from collections.abc import Callable

import pytest
import torch
from peft import LoraConfig, get_peft_model

from luce.data.pack import pack
from luce.errors import ModelError
from luce.models.engine import Sample, SamplingSettings, generate
from luce.models.geometric import GeometricMixture, response_law, toward_reference
from luce.models.policy import CausalPolicy
from luce.models.tabular import geometric_mixture
from luce.types import Group

PROMPTS = [[5, 6, 7, 8], [9], [10, 11, 12], [13, 14, 15, 16]]
STOP = tuple(range(0, 60))
SETTINGS = SamplingSettings(max_new_tokens=10)


def shaken(policy: CausalPolicy, seed: int = 0) -> CausalPolicy:
    """The policy with other weights, in place."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in policy.module.parameters():
            if p.dim() > 1:
                p.add_(0.2 * torch.randn(p.shape, generator=generator))
    return policy


@pytest.fixture
def two(policy: Callable[..., CausalPolicy]) -> tuple[CausalPolicy, CausalPolicy]:
    return policy("llama"), shaken(policy("llama"))


@pytest.mark.parametrize("name", ["llama", "gpt2"])
@pytest.mark.parametrize("temperature", [1.0, 0.7, 0.0])
def test_at_the_ends_the_samples_are_those_of_the_policies(
    name: str, temperature: float, policy: Callable[..., CausalPolicy]
) -> None:
    own, reference = policy(name), shaken(policy("llama"))
    settings = SamplingSettings(temperature=temperature, max_new_tokens=10)
    for alpha, plain in ((0.0, own), (1.0, reference)):
        mixed = toward_reference(own, alpha, reference)
        assert generate(mixed, PROMPTS, 3, settings, seed=3, stop_ids=STOP) == generate(
            plain, PROMPTS, 3, settings, seed=3, stop_ids=STOP
        )


def test_each_token_is_drawn_from_the_product_normalized(
    two: tuple[CausalPolicy, CausalPolicy],
) -> None:
    """log p = (1 − α) log π + α log π_ref − log Σ exp of the same, over the vocabulary."""
    mixed = toward_reference(two[0], 0.3, two[1])
    (samples,) = generate(mixed, [PROMPTS[0]], 4, SETTINGS, seed=1, stop_ids=STOP)
    for sample in samples:
        row, log_p = torch.tensor([[*PROMPTS[0], *sample.ids]]), []
        for member in two:
            with torch.no_grad(), member.plain_attention():
                logits = member.inner(input_ids=row, use_cache=False).logits[0]
            log_p.append(logits.double().log_softmax(-1))
        product = (0.7 * log_p[0] + 0.3 * log_p[1]).log_softmax(-1)[3:-1]
        wanted = product.gather(1, torch.tensor(sample.ids)[:, None])[:, 0]
        torch.testing.assert_close(
            torch.tensor(sample.log_probs).double(), wanted, atol=1e-5, rtol=1e-5
        )


def test_log_probs_are_the_mixtures_and_not_the_policys(
    two: tuple[CausalPolicy, CausalPolicy], group: Callable[..., Group]
) -> None:
    mixed = toward_reference(two[0], 0.5, two[1])
    results = generate(mixed, PROMPTS, 3, SETTINGS, seed=2, stop_ids=STOP)
    packed = pack(
        [group(x, *[s.ids for s in row]) for x, row in zip(PROMPTS, results, strict=True)]
    )
    sampled = torch.tensor([v for row in results for s in row for v in s.log_probs])
    torch.testing.assert_close(sampled, mixed.log_probs(packed).detach(), atol=1e-4, rtol=1e-4)
    assert (sampled - two[0].log_probs(packed).detach()).abs().max() > 0.1


def test_several_policies_and_other_weights_on_the_same_networks(
    policy: Callable[..., CausalPolicy], group: Callable[..., Group]
) -> None:
    members = [policy("llama"), shaken(policy("llama")), shaken(policy("gpt2"), seed=1)]
    mixed = GeometricMixture(members, [0.2, 0.3, 0.5])
    packed = pack([group([5, 6, 7], [8, 9], [10])])
    first = [m.distribution(packed, "forward") for m in members]
    product = sum(
        w * p.log_softmax(-1)
        for w, p in zip((0.2, 0.3, 0.5), first, strict=True)
        if isinstance(p, torch.Tensor)
    )
    assert isinstance(product, torch.Tensor)
    wanted = product.log_softmax(-1).gather(1, packed.targets[:, None])[:, 0]
    torch.testing.assert_close(mixed.log_probs(packed).detach(), wanted, atol=1e-4, rtol=1e-4)
    alone = mixed.at([0.0, 1.0, 0.0])
    torch.testing.assert_close(
        alone.log_probs(packed), members[1].log_probs(packed), atol=1e-4, rtol=1e-4
    )
    assert next(alone.module.parameters()) is next(mixed.module.parameters())


def ids(results: list[list[Sample]]) -> list[list[tuple[int, ...]]]:
    return [[sample.ids for sample in row] for row in results]


def test_the_reference_may_be_the_base_under_the_adapter(
    policy: Callable[..., CausalPolicy],
) -> None:
    base = policy("llama")
    adapted = policy("llama")
    module = get_peft_model(adapted.inner, LoraConfig(r=2, target_modules=["q_proj"]))
    with torch.no_grad():
        for name, p in module.named_parameters():
            if "lora_B" in name:
                p.normal_(0, 1.0, generator=torch.Generator().manual_seed(0))
    own = CausalPolicy(module, adapted.tokenizer, "adapted")
    plain = [ids(generate(p, PROMPTS, 2, SETTINGS, stop_ids=STOP)) for p in (own, base)]
    assert plain[0] != plain[1]
    found = []
    for alpha in (0.0, 0.4, 1.0):
        one, other = toward_reference(own, alpha), toward_reference(own, alpha, base)
        found.append(ids(generate(one, PROMPTS, 2, SETTINGS, stop_ids=STOP)))
        assert found[-1] == ids(generate(other, PROMPTS, 2, SETTINGS, stop_ids=STOP))
    assert [found[0], found[2]] == plain and found[1] not in plain
    with pytest.raises(ModelError, match="no adapter to switch off"):
        toward_reference(base, 0.5)


def test_a_sample_depends_on_the_seed_its_prompt_and_its_number_alone(
    two: tuple[CausalPolicy, CausalPolicy],
) -> None:
    """Rows are repeated, dropped and cut in the caches of both networks alike."""
    mixed = toward_reference(two[0], 0.5, two[1])
    settings = SamplingSettings(max_new_tokens=30)
    small = SamplingSettings(max_new_tokens=30, max_batch_tokens=70)
    together = generate(mixed, PROMPTS, 5, settings, seed=4, stop_ids=STOP)
    apart = generate(mixed, PROMPTS, 5, small, seed=4, stop_ids=STOP)
    assert ids(together) == ids(apart)


def test_the_law_of_responses_is_that_of_the_samples(policy: Callable[..., CausalPolicy]) -> None:
    model = policy("llama")
    stop = tuple(range(200))
    responses, law = response_law(model, [5, 6], 2, stop_ids=stop)
    assert len(responses) == 200 + 100 * 300 == len(set(responses))
    assert law.probability.sum().item() == pytest.approx(1.0, abs=1e-12)
    settings = SamplingSettings(max_new_tokens=2)
    (samples,) = generate(model, [[5, 6]], 20, settings, stop_ids=stop)
    for sample in samples:
        found = law.log_prob[responses.index(sample.ids)].item()
        assert found == pytest.approx(sum(sample.log_probs), abs=1e-4)


def test_token_by_token_is_not_the_product_of_whole_responses_unless_they_are_one_token_long(
    two: tuple[CausalPolicy, CausalPolicy],
) -> None:
    mixed, stop = toward_reference(two[0], 0.5, two[1]), tuple(range(200))
    for tokens, same in ((1, True), (2, False)):
        laws = [response_law(p, [5, 6], tokens, stop_ids=stop)[1] for p in two]
        whole = geometric_mixture(laws, [0.5, 0.5])
        stepwise = response_law(mixed, [5, 6], tokens, stop_ids=stop)[1]
        far = whole.total_variation(stepwise)
        assert far < 1e-5 if same else far > 0.01


def test_what_cannot_be_mixed_is_refused(two: tuple[CausalPolicy, CausalPolicy]) -> None:
    for weights in ([0.5, 0.6], [1.5, -0.5], [1.0]):
        with pytest.raises(ModelError, match="weights"):
            GeometricMixture(two, weights)
    with pytest.raises(ModelError, match="alpha"):
        toward_reference(two[0], 1.2, two[1])
    with pytest.raises(ModelError, match="Ask for fewer tokens"):
        response_law(two[0], [5], 4, stop_ids=())
    other = two[1]
    other.inner.config.vocab_size = 12
    with pytest.raises(ModelError, match="one vocabulary"):
        GeometricMixture(two, [0.5, 0.5])
