"""Models and tokenizers that do not belong together, and files that reach outside their folder."""

import json
import shutil
from pathlib import Path

import pytest
from fault_bench import ANSWERED, SAME, Bench, case
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

CANARY = "canary-7f3a-of-the-env-file"


def other_tokenizer(folder: Path) -> None:
    """Swap two tokens: the same size of vocabulary, other ids."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


@case(57, what="a reference with another vocabulary", answer=ANSWERED)
def test_a_reference_of_other_tokens(bench: Bench, says) -> None:
    other = Path(shutil.copytree(bench.model, bench.folder / "other"))
    other_tokenizer(other)
    bench.set(reference=str(other))
    says(bench.train().refused("reference: ", "another vocabulary", "the policy's tokenizer"))
    assert not bench.run_folder.joinpath("model").exists()


@case(57, what="a reference with fewer embeddings", answer=ANSWERED)
def test_a_reference_of_another_size(bench: Bench, says) -> None:
    other = Path(shutil.copytree(bench.model, bench.folder / "other"))
    tensors = load_file(other / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        if name in tensors:
            tensors[name] = tensors[name][:100].contiguous()
    save_file(tensors, other / "model.safetensors", {"format": "pt"})
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"vocab_size": 100}))
    bench.set(reference=str(other))
    says(bench.train().refused("reference: ", "ids up to 299", "100 ids"))


@case(58, what="a reward model with another tokenizer", answer=SAME)
def test_a_reward_model_reads_text_and_not_ids(bench: Bench, says) -> None:
    """Permuting tokens and embeddings together changes no reward: ids are never passed on."""
    import luce
    from luce.data.template import Renderer
    from luce.models.reward import load_reward_model

    bench.set(
        model={"kind": "reward"},
        objective={"bradley_terry": {}},
        output_dir=str(bench.folder / "r"),
    )
    bench.train().done()
    first = bench.run_folder / "model"
    second = Path(shutil.copytree(first, bench.folder / "second"))
    other_tokenizer(second)
    tensors = load_file(second / "model.safetensors")
    vocabulary = AutoTokenizer.from_pretrained(first).get_vocab()
    a, b = vocabulary["a"], vocabulary["b"]
    (name,) = [name for name in tensors if "embed_tokens" in name]
    rows = tensors[name].clone()
    rows[[a, b]] = rows[[b, a]]
    save_file({**tensors, name: rows}, second / "model.safetensors", {"format": "pt"})
    found = []
    for folder in (first, second):
        model = load_reward_model(str(folder))
        found.append(luce.reward_scorer(model, Renderer(model.tokenizer))("a b?", ["ab", "ba"]))
    assert found[0] == pytest.approx(found[1], abs=1e-6) and found[0][0] != found[0][1]
    says("text is tokenized again by the reward model's own tokenizer: the same rewards")


@case(58, what="token ids of another tokenizer beside the text", answer=ANSWERED)
def test_ids_of_another_tokenizer(bench: Bench, says) -> None:
    rows = [{"prompt": f"q {i}", "chosen": "a b", "rejected": "b a"} for i in range(4)]
    ids = {"prompt": [5, 6], "chosen": [7], "rejected": [8]}
    bench.put([{**row, "token_ids": ids} for row in rows])
    says(bench.train().refused(f"{bench.data}:1: token_ids.prompt", "another model"))


@case(59, what="a vocabulary outside the model's folder", answer=ANSWERED)
def test_a_tokenizer_that_names_a_file_outside_its_folder(bench: Bench, says) -> None:
    (bench.folder / ".env").write_text(f'{{"{CANARY}": 5}}')
    path = bench.model / "tokenizer_config.json"
    config = json.loads(path.read_text())
    for key in ("vocab_file", "tokenizer_file", "merges_file"):
        path.write_text(json.dumps(config | {key: "../.env"}))
        said = bench.train().refused(f"{path}: {key}", "../.env")
        assert CANARY not in said
    says(said)


@case(86, what="a checkpoint of a run given as the model", answer=ANSWERED)
def test_a_checkpoint_is_no_model(bench: Bench, says) -> None:
    bench.train().done()
    (checkpoint,) = (bench.run_folder / "checkpoints").glob("step-*")
    bench.set(model={"path": str(checkpoint)}, output_dir=str(bench.folder / "second"))
    says(bench.train().refused(str(checkpoint), "config.json"))


@case(86, what="the model of a run trained on: the reference is that model", answer=ANSWERED)
def test_what_the_reference_is_now(bench: Bench, says) -> None:
    bench.train().done()
    trained = bench.run_folder / "model"
    bench.set(model={"path": str(trained)}, output_dir=str(bench.folder / "second"))
    said = bench.train().done().err
    (line,) = [line for line in said.splitlines() if line.startswith("reference: initial")]
    assert f"initial = {trained}" in line
    manifest = json.loads((bench.run_folder / "manifest.json").read_text())
    assert manifest["reference"]["path"] == str(trained)
    assert manifest["reference"]["hash"][:12] in line
    says(line)


@case(121, what="pickled weights", answer=ANSWERED)
def test_pickled_weights(bench: Bench, says) -> None:
    import torch

    marker = bench.folder / "ran"

    class Payload:
        def __reduce__(self):
            return (Path.touch, (marker,))

    torch.save({"x": Payload()}, bench.model / "pytorch_model.bin")
    (bench.model / "model.safetensors").unlink()
    says(bench.train().refused("only pickled weights (pytorch_model.bin)", "save_pretrained"))
    assert not marker.exists()


@case(121, what="a pickled optimizer state in a checkpoint", answer=ANSWERED)
def test_a_pickled_optimizer(bench: Bench, says) -> None:
    import pickle

    marker = bench.folder / "ran"

    class Payload:
        def __reduce__(self):
            return (Path.touch, (marker,))

    bench.train().done()
    (checkpoint,) = (bench.run_folder / "checkpoints").glob("step-*")
    (checkpoint / "optimizer.safetensors").write_bytes(pickle.dumps(Payload()))
    says(bench.train("--resume").refused("optimizer.safetensors", "sha256"))
    assert not marker.exists()


@case(121, what="code that comes with a model", answer=ANSWERED)
def test_code_that_comes_with_a_model(bench: Bench, says) -> None:
    marker = bench.folder / "ran"
    (bench.model / "own.py").write_text(f"open({str(marker)!r}, 'w')\n")
    path = bench.model / "config.json"
    config = json.loads(path.read_text())
    config |= {"model_type": "own", "auto_map": {
        "AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.Own"}}  # fmt: skip
    path.write_text(json.dumps(config))
    says(bench.train().refused("code of its own", "model.trust_remote_code: true"))
    assert not marker.exists()
