"""The reference is what it was said to be, computed once, and refused when it is another."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from luce.data.pack import pack
from luce.errors import ReferencePolicyError
from luce.models.policy import CausalPolicy, LoraSettings, load_policy
from luce.models.reference import ReferenceCache, compute_reference, open_reference
from luce.types import Group, Packed

MakePolicy = Callable[..., CausalPolicy]


def shift(policy: CausalPolicy) -> None:
    for parameter in policy.trainable().values():
        parameter.data.add_(0.05)


def test_there_may_be_none(policy: MakePolicy) -> None:
    assert open_reference("none", policy("llama")) is None


def test_initial_is_the_policy_as_it_stands_also_when_changed_in_memory(
    policy: MakePolicy, groups: list[Group], tmp_path: Path
) -> None:
    model = policy("llama")
    shift(model)
    reference = open_reference("initial", model)
    assert reference is not None and reference.hash == model.hash()
    cache = compute_reference(reference, groups, pack, tmp_path, max_tokens=40)
    before = model.log_probs(pack(groups)).detach()
    shift(model)
    torch.testing.assert_close(cache.lookup(groups), before, rtol=1e-5, atol=1e-5)
    assert cache.lookup(groups).dtype == torch.float32


def test_the_log_probs_of_one_row_are_the_policys_to_the_bit(
    policy: MakePolicy, groups: list[Group], tmp_path: Path
) -> None:
    model = policy("llama")
    reference = open_reference("initial", model)
    assert reference is not None
    by_size = sorted(groups, key=lambda g: -g.tokens)
    cache = compute_reference(reference, groups, pack, tmp_path)
    assert torch.equal(cache.lookup(by_size), model.log_probs(pack(by_size)).detach())


def test_initial_of_an_adapter_has_the_adapter_and_base_has_not(
    tiny_model_dir: Path, groups: list[Group]
) -> None:
    model = load_policy(str(tiny_model_dir), lora=LoraSettings(r=4))
    plain = load_policy(str(tiny_model_dir))
    shift(model)
    initial, base = open_reference("initial", model), open_reference("base", model)
    assert initial is not None and base is not None
    packed = pack(groups)
    assert torch.equal(initial.log_probs(packed), model.log_probs(packed).detach())
    assert torch.equal(base.log_probs(packed), plain.log_probs(packed).detach())
    assert base.hash == plain.hash() and base.path == str(tiny_model_dir)
    assert model.module.training


def test_base_of_a_policy_without_an_adapter_is_refused(policy: MakePolicy) -> None:
    with pytest.raises(ReferencePolicyError, match="Use `reference: initial`"):
        open_reference("base", policy("llama"))


def test_a_path_is_a_model_of_its_own_that_is_not_trained(
    tiny_model_dir: Path, groups: list[Group]
) -> None:
    model = load_policy(str(tiny_model_dir))
    reference = open_reference(str(tiny_model_dir), model)
    assert reference is not None and reference.kind == "path"
    assert reference.hash == model.hash() and not reference.policy.trainable()
    before = reference.log_probs(pack(groups))
    shift(model)
    assert torch.equal(reference.log_probs(pack(groups)), before)


def test_a_reference_that_is_not_there_or_reads_other_tokens_is_refused(
    tiny_model_dir: Path, chatml_tokenizer: object, tmp_path: Path
) -> None:
    model = load_policy(str(tiny_model_dir))
    with pytest.raises(ReferencePolicyError, match="reference: ./nothing: no such model folder"):
        open_reference("./nothing", model)
    model.tokenizer = chatml_tokenizer
    with pytest.raises(ReferencePolicyError, match="another vocabulary"):
        open_reference(str(tiny_model_dir), model)


def test_a_second_run_reads_instead_of_computing(
    policy: MakePolicy, random_groups: Callable[..., list[Group]], tmp_path: Path
) -> None:
    groups = random_groups(12)
    reference = open_reference("initial", policy("llama"))
    assert reference is not None
    packed: list[int] = []
    progress: list[tuple[int, int]] = []

    def counting(part: Sequence[Group]) -> Packed:
        packed.append(len(part))
        return pack(part)

    def run(some: list[Group]) -> ReferenceCache:
        return compute_reference(
            reference,
            some,
            counting,
            tmp_path,
            max_tokens=60,
            progress=lambda done, total: progress.append((done, total)),
        )

    first = run(groups).lookup(groups)
    assert sum(packed) == 12 and max(packed) > 1 and progress[-1] == (12, 12)
    packed.clear()
    assert torch.equal(run(groups).lookup(groups), first) and packed == []
    run([*groups, *random_groups(3, seed=9)])
    assert 0 < sum(packed) < 15


def test_a_run_killed_meanwhile_ends_with_the_same_bits(
    policy: MakePolicy,
    random_groups: Callable[..., list[Group]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("luce.models.reference.SHARD_TOKENS", 20)
    groups = random_groups(12)
    reference = open_reference("initial", policy("llama"))
    assert reference is not None
    whole = compute_reference(reference, groups, pack, tmp_path / "a", max_tokens=40)

    class Killed(Exception):
        pass

    def kill(done: int, total: int) -> None:
        if done > total / 2:
            raise Killed

    with pytest.raises(Killed):
        compute_reference(reference, groups, pack, tmp_path / "b", max_tokens=40, progress=kill)
    assert (
        0
        < len(list((tmp_path / "b").glob("shard-*")))
        < len(list((tmp_path / "a").glob("shard-*")))
    )
    rest = compute_reference(reference, groups, pack, tmp_path / "b", max_tokens=40)
    assert torch.equal(rest.lookup(groups), whole.lookup(groups))


def test_a_stale_cache_is_refused(policy: MakePolicy, groups: list[Group], tmp_path: Path) -> None:
    model = policy("llama")
    reference = open_reference("initial", model)
    assert reference is not None
    compute_reference(reference, groups, pack, tmp_path)
    shift(model)
    changed = open_reference("initial", model)
    assert changed is not None
    with pytest.raises(ReferencePolicyError, match="holds log-probabilities of reference"):
        compute_reference(changed, groups, pack, tmp_path)
    with pytest.raises(ReferencePolicyError, match="float32.*in bfloat16"):
        ReferenceCache(tmp_path, reference.hash, "bfloat16")


def test_a_foreign_or_damaged_shard_is_refused(
    policy: MakePolicy, groups: list[Group], tmp_path: Path
) -> None:
    reference = open_reference("initial", policy("llama"))
    assert reference is not None
    compute_reference(reference, groups, pack, tmp_path / "a")
    shard = tmp_path / "a" / "shard-00000.safetensors"
    ReferenceCache(tmp_path / "b", "another", "float32")
    (tmp_path / "b" / shard.name).write_bytes(shard.read_bytes())
    with pytest.raises(ReferencePolicyError, match="another reference than the rest"):
        ReferenceCache(tmp_path / "b", "another", "float32")
    shard.write_bytes(shard.read_bytes()[:-40])
    with pytest.raises(ReferencePolicyError, match="damaged"):
        ReferenceCache(tmp_path / "a", reference.hash, reference.dtype)


def test_what_was_not_computed_is_named(
    policy: MakePolicy, group: Callable[..., Group], groups: list[Group], tmp_path: Path
) -> None:
    reference = open_reference("initial", policy("llama"))
    assert reference is not None
    cache = compute_reference(reference, groups, pack, tmp_path)
    other = group([5, 6], [7, 1])
    assert other not in cache and groups[0] in cache
    with pytest.raises(ReferencePolicyError, match="test.jsonl:1: response 0 of 5-6"):
        cache.lookup([other])


def test_tokens_prompt_and_scoring_are_all_part_of_the_key(group: Callable[..., Group]) -> None:
    from luce.models.reference import token_key

    rows = [
        group([5, 6], [7, 1]),
        group([5], [6, 7, 1]),
        group([5, 9], [7, 1]),
        group([5, 6], [8, 1]),
        group([5, 6], [7, 1], scored=[False, True]),
    ]
    assert len({token_key(row, row.branches[0]) for row in rows}) == 5
