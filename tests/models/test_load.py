"""What is loaded is whole and safe, and everything else is refused with a remedy."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from luce.data.pack import pack
from luce.errors import ModelError
from luce.models.load import LoraSettings
from luce.models.policy import load_policy
from luce.types import Group


@pytest.fixture
def folder(tiny_model_dir: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may spoil."""
    return Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, {"format": "pt"})


def test_a_missing_folder_is_named() -> None:
    with pytest.raises(ModelError, match=r"\./nowhere: no such model folder"):
        load_policy("./nowhere")


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"without config\.json"):
        load_policy(str(tmp_path))


def test_a_hub_name_that_cannot_be_fetched_says_so() -> None:
    with pytest.raises(ModelError, match="some-org/some-model: no such folder, and not fetched"):
        load_policy("some-org/some-model")


def test_pickled_weights_are_refused(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"only pickled weights \(pytorch_model\.bin\)"):
        load_policy(str(folder))


def test_a_weight_that_is_not_there_is_named(folder: Path) -> None:
    change_weights(folder, lambda t: t.pop("model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(ModelError, match=r"no weights for model\.layers\.1\.mlp\.up_proj\.weight"):
        load_policy(str(folder))


def test_a_weight_of_another_shape_is_refused(folder: Path) -> None:
    change_weights(folder, lambda t: t.update({"lm_head.weight": torch.zeros(7, 32)}))
    with pytest.raises(ModelError):
        load_policy(str(folder))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_damaged_weight_is_named(folder: Path, value: float) -> None:
    change_weights(folder, lambda t: t["model.norm.weight"].fill_(value))
    with pytest.raises(ModelError, match=r"model\.norm\.weight holds a nan or an infinity"):
        load_policy(str(folder))


def test_damaged_files_are_an_error_of_the_model(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"not a model")
    with pytest.raises(ModelError, match="model"):
        load_policy(str(folder))


def test_a_tokenizer_with_more_ids_than_the_model_is_refused(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    added = {**tokenizer["added_tokens"][0], "id": 300, "content": "<new>"}
    tokenizer["added_tokens"].append(added)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(
        ModelError, match="ids up to 300 .'<new>'., the model embeddings for 300 ids"
    ):
        load_policy(str(folder))


def test_a_model_without_a_tokenizer_is_refused(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelError, match="no usable tokenizer"):
        load_policy(str(folder))


@pytest.mark.parametrize("name", ["../.env", "/etc/hosts", "x/../../.env"])
def test_a_vocabulary_outside_the_folder_is_refused(folder: Path, name: str) -> None:
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"vocab_file": name}))
    with pytest.raises(ModelError, match=f"vocab_file: '{name}' is outside the model's folder"):
        load_policy(str(folder))
    path.write_text(json.dumps(config | {"vocab_file": "vocab.json", "other_file": None}))
    load_policy(str(folder))


def test_a_model_that_does_not_run_is_named(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["num_attention_heads"], config["num_key_value_heads"] = 8, 3
    config["head_dim"] = 4
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="model"):
        load_policy(str(folder))


def test_loading_is_silent(
    tiny_model_dir: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    from luce.models.reward import load_reward_model

    load_policy(str(tiny_model_dir))
    load_reward_model(str(tiny_model_dir))
    out, err = capfd.readouterr()
    assert (out, err, caplog.text) == ("", "", "")


def test_an_unknown_dtype_is_corrected(tiny_model_dir: Path) -> None:
    with pytest.raises(ModelError, match="no 'bfloat'. Did you mean 'bfloat16'"):
        load_policy(str(tiny_model_dir), dtype="bfloat")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_weights_come_in_the_dtype_asked_for(tiny_model_dir: Path, dtype: str) -> None:
    assert load_policy(str(tiny_model_dir), dtype=dtype).dtype == dtype


def test_a_fresh_adapter_changes_nothing_and_is_all_that_is_trained(
    tiny_model_dir: Path, groups: list[Group]
) -> None:
    plain = load_policy(str(tiny_model_dir))
    adapted = load_policy(str(tiny_model_dir), lora=LoraSettings(r=4, alpha=8.0))
    assert adapted.trainable() and all("lora_" in name for name in adapted.trainable())
    assert torch.equal(plain.log_probs(pack(groups)), adapted.log_probs(pack(groups)))
    assert adapted.hash(adapters=False) == plain.hash() != adapted.hash()


def test_the_seed_alone_decides_a_fresh_adapter(tiny_model_dir: Path) -> None:
    state = torch.random.get_rng_state()
    hashes = [
        load_policy(str(tiny_model_dir), lora=LoraSettings(), seed=s).hash() for s in (0, 0, 1)
    ]
    assert hashes[0] == hashes[1] != hashes[2]
    assert torch.equal(state, torch.random.get_rng_state())


def test_the_base_is_there_while_the_adapter_is_off(
    tiny_model_dir: Path, groups: list[Group]
) -> None:
    packed = pack(groups)
    model = load_policy(str(tiny_model_dir), lora=LoraSettings(r=4))
    base = model.log_probs(packed)
    for parameter in model.trainable().values():
        parameter.data.add_(0.1)
    changed = model.log_probs(packed)
    with model.adapter_disabled():
        assert torch.equal(model.log_probs(packed), base)
    assert torch.equal(model.log_probs(packed), changed) and not torch.equal(changed, base)


def test_a_model_without_an_adapter_has_none_to_switch_off(tiny_model_dir: Path) -> None:
    with (
        pytest.raises(ModelError, match="no adapter"),
        load_policy(str(tiny_model_dir)).adapter_disabled(),
    ):
        pass


def test_only_the_dropout_of_an_adapter_that_asks_for_it_is_kept(
    tiny_model_dir: Path, groups: list[Group]
) -> None:
    packed = pack(groups)
    model = load_policy(str(tiny_model_dir), lora=LoraSettings(r=4, dropout=0.5))
    assert model.layout == "packed" and "dropout" in model.layout_reason
    for parameter in model.trainable().values():
        parameter.data.add_(0.1)
    assert not torch.equal(model.log_probs(packed), model.log_probs(packed))
    with torch.no_grad():
        assert torch.equal(model.log_probs(packed), model.log_probs(packed))


def test_unknown_targets_and_impossible_ranks_are_refused(tiny_model_dir: Path) -> None:
    with pytest.raises(ModelError, match=r"lora\.target_modules"):
        load_policy(str(tiny_model_dir), lora=LoraSettings(target_modules=("no_such_layer",)))
    with pytest.raises(ModelError, match="r ≥ 1"):
        LoraSettings(r=0)


def test_a_classifier_is_not_a_policy(folder: Path) -> None:
    change_weights(folder, lambda t: t.pop("lm_head.weight"))
    with pytest.raises(ModelError, match=r"no weights for lm_head\.weight"):
        load_policy(str(folder))
