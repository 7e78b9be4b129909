"""What is saved is what was trained, by the judgement of plain transformers."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from luce.data.pack import pack
from luce.errors import ModelError
from luce.models import export
from luce.models.export import save_model
from luce.models.policy import CausalPolicy, LoraSettings, load_policy
from luce.types import Group


def trained(tiny_model_dir: Path, lora: LoraSettings | None = None, **kw: str) -> CausalPolicy:
    policy = load_policy(str(tiny_model_dir), lora=lora, **kw)
    for i, parameter in enumerate(policy.trainable().values()):
        parameter.data.add_(0.01 * (i % 3 - 1))
    return policy


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([[5, 6, 7, 8, 9]])).logits


def test_a_full_model_comes_back_to_the_bit(
    tiny_model_dir: Path, groups: list[Group], tmp_path: Path
) -> None:
    policy = trained(tiny_model_dir)
    assert save_model(policy, tmp_path / "model", packed=pack(groups)) == 0.0
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    with policy.plain_attention():
        assert torch.equal(logits(plain), logits(policy.inner))
    assert load_policy(str(tmp_path / "model")).hash() == policy.hash()
    assert [f.name for f in tmp_path.iterdir()] == ["model"]
    config = (tmp_path / "model" / "config.json").read_text()
    assert "luce" not in config and (tmp_path / "model" / "model.safetensors").exists()


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_an_adapter_stays_an_adapter_of_its_true_base(
    tiny_model_dir: Path, groups: list[Group], tmp_path: Path
) -> None:
    policy = trained(tiny_model_dir, LoraSettings(r=4))
    assert save_model(policy, tmp_path / "adapter", packed=pack(groups)) == 0.0
    written = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert written["base_model_name_or_path"] == str(tiny_model_dir)
    assert not (tmp_path / "adapter" / "model.safetensors").exists()
    base = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    plain = PeftModel.from_pretrained(base, tmp_path / "adapter")
    with policy.plain_attention():
        assert torch.equal(logits(plain), logits(policy.inner))
    again = load_policy(str(tmp_path / "adapter"))
    assert again.hash() == policy.hash() and again.base == str(tiny_model_dir)
    assert list(again.trainable()) == list(policy.trainable())


def test_the_layers_of_an_adapter_are_written_in_order(tiny_model_dir, tmp_path) -> None:
    """Peft has them in a set: without an order the bytes differ from process to process."""
    policy = trained(tiny_model_dir, LoraSettings(r=4))
    save_model(policy, tmp_path / "adapter")
    text = (tmp_path / "adapter" / "adapter_config.json").read_text()
    targets = json.loads(text)["target_modules"]
    assert len(targets) == 14 and targets == sorted(targets)
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True)


def test_an_adapter_finds_its_base_from_any_working_folder(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_model_dir.parent)
    save_model(trained(Path(tiny_model_dir.name), LoraSettings(r=4)), tmp_path / "adapter")
    monkeypatch.chdir(tmp_path)
    assert load_policy("./adapter").base == str(tiny_model_dir)


def test_an_adapter_is_not_given_another_adapter(tiny_model_dir: Path, tmp_path: Path) -> None:
    save_model(trained(tiny_model_dir, LoraSettings(r=4)), tmp_path / "adapter")
    with pytest.raises(ModelError, match="an adapter already"):
        load_policy(str(tmp_path / "adapter"), lora=LoraSettings(r=4))


def test_a_merged_adapter_is_a_full_model(
    tiny_model_dir: Path, groups: list[Group], tmp_path: Path
) -> None:
    policy = trained(tiny_model_dir, LoraSettings(r=4))
    before = policy.hash()
    assert 0 < save_model(policy, tmp_path / "full", packed=pack(groups), merge=True) < 1e-3
    assert policy.hash() == before and policy.has_adapter
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "full")
    with policy.plain_attention():
        torch.testing.assert_close(logits(plain), logits(policy.inner), rtol=1e-4, atol=1e-4)
    assert not (tmp_path / "full" / "adapter_config.json").exists()


def test_generation_ends_with_the_trained_token(
    tiny_model_dir: Path, chatml_tokenizer: object, tmp_path: Path
) -> None:
    policy = trained(tiny_model_dir)
    policy.tokenizer = chatml_tokenizer
    save_model(policy, tmp_path / "model", stop_ids=(4,))
    settings = GenerationConfig.from_pretrained(tmp_path / "model")
    assert settings.eos_token_id == [4, 1] and settings.pad_token_id == 2
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert tokenizer.chat_template == chatml_tokenizer.chat_template
    assert policy.inner.generation_config.eos_token_id == 1


def test_a_token_that_is_eos_already_is_not_listed_twice(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    save_model(trained(tiny_model_dir), tmp_path / "model", stop_ids=(1,))
    assert GenerationConfig.from_pretrained(tmp_path / "model").eos_token_id == 1


def test_files_that_differ_are_not_called_saved(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = trained(tiny_model_dir)
    save_model(policy, tmp_path / "model")
    older = (tmp_path / "model" / "model.safetensors").read_bytes()
    reload = export._reload

    def spoiled(model: CausalPolicy, folder: Path) -> nn.Module:
        again = reload(model, folder)
        again.lm_head.weight.data[::2] += 0.1
        return again

    monkeypatch.setattr(export, "_reload", spoiled)
    for parameter in policy.trainable().values():
        parameter.data.mul_(1.1)
    with pytest.raises(ModelError, match="not saved.*differ from the trained model"):
        save_model(policy, tmp_path / "model")
    assert [f.name for f in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == older


def test_an_older_folder_of_the_name_is_replaced_whole(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "adapter_config.json").write_text("{}")
    save_model(trained(tiny_model_dir), tmp_path / "model")
    assert not (tmp_path / "model" / "adapter_config.json").exists()
    assert [f.name for f in tmp_path.iterdir()] == ["model"]


def test_sixteen_bit_models_are_saved_in_their_own_precision(
    tiny_model_dir: Path, groups: list[Group], tmp_path: Path
) -> None:
    policy = trained(tiny_model_dir, dtype="bfloat16")
    policy.autocast = torch.bfloat16
    assert save_model(policy, tmp_path / "model", packed=pack(groups)) == 0.0
    assert load_policy(str(tmp_path / "model")).dtype == "bfloat16"


def test_a_tokenizer_that_comes_back_different_is_not_called_saved(
    policy: Callable[..., CausalPolicy], tmp_path: Path
) -> None:
    # transformers gives a model of this type its own kind of tokenizer, with a token more
    with pytest.raises(ModelError, match="tokenizer.*comes back with other tokens"):
        save_model(policy("qwen2"), tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "gemma2"])
def test_other_architectures_are_saved_alike(
    name: str, policy: Callable[..., CausalPolicy], tmp_path: Path
) -> None:
    assert save_model(policy(name), tmp_path / "model") == 0.0
    assert load_policy(str(tmp_path / "model")).head == "kernel"
