"""A reward is read at the last token of a response, in every layout and by plain transformers."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from luce.data.pack import pack
from luce.errors import ModelError
from luce.models import reward
from luce.models.export import save_model
from luce.models.layout import LAYOUTS, Layout
from luce.models.load import LoraSettings
from luce.models.reward import PAD, RewardModel, load_reward_model
from luce.types import Group

EOS = 1


def ending(groups: list[Group]) -> list[Group]:
    """The same groups with every response ended by the eos token."""
    for group in groups:
        for branch in group.branches:
            branch.ids[-1] = EOS
    return groups


def plain_scores(folder: Path, groups: list[Group]) -> Tensor:
    """What a program without luce computes: pad on the right, call the classifier."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = [g.prompt.tolist() + b.ids.tolist() for g in groups for b in g.branches]
    batch = tokenizer.pad({"input_ids": rows}, padding_side="right", return_tensors="pt")
    with torch.no_grad():
        return model(**batch).logits[:, 0]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rewards_and_gradients_are_the_same_in_every_layout(
    layout: Layout, tiny_model_dir: Path, groups: list[Group]
) -> None:
    packed = pack(groups, keep_last=True)
    found = []
    for asked in ("padded", layout):
        model = load_reward_model(str(tiny_model_dir), layout=asked, dtype="float64")
        assert model.layout == asked
        rewards = model.rewards(packed)
        weights = torch.linspace(-1, 1, len(rewards), dtype=torch.float64)
        (rewards * weights).sum().backward()
        found.append((rewards, {n: p.grad for n, p in model.trainable().items()}))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-9, atol=1e-9)
    for name, gradient in found[0][1].items():
        scale = gradient.abs().max().item()
        assert (found[1][1][name] - gradient).abs().max().item() <= 1e-5 * scale, name


def test_a_response_is_read_at_its_last_token(
    tiny_model_dir: Path, group: Callable[..., Group]
) -> None:
    model = load_reward_model(str(tiny_model_dir))
    with torch.no_grad(), model.plain_attention():
        hidden = model.inner.base_model(torch.tensor([[5, 6, 7, EOS]])).last_hidden_state[0, -1]
        expected = model.inner.score(hidden)
    rewards = model.rewards(pack([group([5, 6], [7, EOS], [8, 9, EOS])], keep_last=True))
    torch.testing.assert_close(rewards[:1], expected, rtol=1e-5, atol=1e-5)
    assert rewards.dtype == torch.float32 and rewards[0] != rewards[1]


def test_the_head_is_new_drawn_from_the_seed_and_trained(tiny_model_dir: Path) -> None:
    hashes = [load_reward_model(str(tiny_model_dir), seed=s).hash() for s in (0, 0, 1)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert "score.weight" in load_reward_model(str(tiny_model_dir)).trainable()


def test_with_an_adapter_the_head_is_trained_whole(
    tiny_model_dir: Path, groups: list[Group]
) -> None:
    model = load_reward_model(str(tiny_model_dir), lora=LoraSettings(r=4))
    head = [n for n in model.trainable() if "score.modules_to_save" in n]
    assert len(head) == 1 and all("lora_" in n for n in model.trainable() if n not in head)
    assert not any("score" in n and "lora_" in n for n in model.trainable())
    model.rewards(pack(groups, keep_last=True)).sum().backward()
    assert model.trainable()[head[0]].grad is not None


@pytest.mark.parametrize("lora", [None, LoraSettings(r=4)], ids=["full", "lora"])
def test_plain_transformers_gives_the_same_rewards_after_saving(
    lora: LoraSettings | None, tiny_model_dir: Path, groups: list[Group], tmp_path: Path
) -> None:
    groups = ending(groups)
    packed = pack(groups, keep_last=True)
    model = load_reward_model(str(tiny_model_dir), lora=lora)
    for parameter in model.trainable().values():
        parameter.data.add_(0.02)
    rewards = model.rewards(packed).detach()
    difference = save_model(model, tmp_path / "reward", packed=packed)
    assert difference <= (0.0 if lora is None else 1e-4)
    torch.testing.assert_close(
        plain_scores(tmp_path / "reward", groups), rewards, rtol=1e-4, atol=1e-4
    )
    again = load_reward_model(str(tmp_path / "reward"), seed=7)
    torch.testing.assert_close(again.rewards(packed).detach(), rewards, rtol=1e-4, atol=1e-4)


def without_padding(folder: Path, target: Path, **roles: str | None) -> str:
    """A copy of the model whose tokenizer has these roles."""
    shutil.copytree(folder, target)
    tokenizer = AutoTokenizer.from_pretrained(target)
    for role, token in roles.items():
        setattr(tokenizer, role, token)
    tokenizer.save_pretrained(target)
    return str(target)


@pytest.mark.parametrize(
    ("roles", "pad"),
    [
        ({"pad_token": "</s>"}, "<s>"),
        ({"pad_token": None}, "<s>"),
        ({"pad_token": "</s>", "bos_token": None}, PAD),
    ],
    ids=["pad is eos", "no pad", "no other token"],
)
def test_padding_is_never_the_token_that_ends_a_response(
    roles: dict[str, str | None],
    pad: str,
    tiny_model_dir: Path,
    groups: list[Group],
    tmp_path: Path,
) -> None:
    groups = ending(groups)
    packed = pack(groups, keep_last=True)
    model = load_reward_model(without_padding(tiny_model_dir, tmp_path / "base", **roles))
    assert model.pad_token == pad
    assert model.inner.config.pad_token_id == model.tokenizer.convert_tokens_to_ids(pad) != EOS
    save_model(model, tmp_path / "reward", packed=packed)
    torch.testing.assert_close(
        plain_scores(tmp_path / "reward", groups),
        model.rewards(packed).detach(),
        rtol=1e-4,
        atol=1e-4,
    )


def test_a_terminator_other_than_eos_is_not_padded_with_either(tiny_model_dir: Path) -> None:
    assert load_reward_model(str(tiny_model_dir), terminator=2).pad_token == "<s>"


def test_responses_that_end_with_padding_are_not_exported(
    tiny_model_dir: Path, group: Callable[..., Group], tmp_path: Path
) -> None:
    model = load_reward_model(str(tiny_model_dir))
    row = pack([group([5, 6], [7, 2])], keep_last=True)
    with pytest.raises(ModelError, match="ends with <pad>"):
        save_model(model, tmp_path / "reward", packed=row)
    assert not list(tmp_path.iterdir())


def test_a_classifier_that_reads_elsewhere_is_refused(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = reward.plain_scores
    monkeypatch.setattr(reward, "plain_scores", lambda model, rows: plain(model, rows) + 1)
    with pytest.raises(ModelError, match="does not read its reward at the last token"):
        load_reward_model(str(tiny_model_dir))


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "gemma2"])
def test_other_architectures_become_reward_models(
    name: str,
    network: Callable[..., torch.nn.Module],
    tiny_tokenizer: object,
    groups: list[Group],
    tmp_path: Path,
) -> None:
    network(name).save_pretrained(tmp_path)
    tiny_tokenizer.save_pretrained(tmp_path)
    model = load_reward_model(str(tmp_path))
    assert isinstance(model, RewardModel) and not model.warnings
    packed = pack(groups, keep_last=True)
    torch.testing.assert_close(
        model.rewards(packed).detach(), model.plain_rewards(packed)[:, 0], rtol=1e-4, atol=1e-4
    )
