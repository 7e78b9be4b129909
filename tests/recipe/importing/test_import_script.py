"""Python scripts of TRL: read by their syntax, never run."""

from pathlib import Path

import pytest

from luce.errors import LuceError
from luce.recipe.importing import import_file

PLAIN = """
# train_dpo.py
from trl import DPOConfig, DPOTrainer
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("Qwen/Qwen2-0.5B-Instruct", dtype=torch.float32)
tokenizer = AutoTokenizer.from_pretrained("Qwen/Qwen2-0.5B-Instruct")
train_dataset = load_dataset("trl-lib/ultrafeedback_binarized", split="train")

training_args = DPOConfig(output_dir="Qwen2-0.5B-DPO", beta=0.05, loss_type=["sigmoid", "sft"],
                          loss_weights=[1.0, 0.2])
trainer = DPOTrainer(model=model, args=training_args, processing_class=tokenizer,
                     train_dataset=train_dataset)
trainer.train()
"""


def test_the_script_of_trls_own_page(read, parameters, fates):
    found = read("trl", PLAIN, "train_dpo.py")
    assert found.read_as == "dpo (by the script)"
    expected = {
        "model.path": "Qwen/Qwen2-0.5B-Instruct", "model.dtype": "float32",
        "data.path": "trl-lib/ultrafeedback_binarized", "data.split": "train",
        "output_dir": "Qwen2-0.5B-DPO",
    }  # fmt: skip
    shared = {k: found.recipe.get(k, v) for k, v in expected.items()}
    assert shared == expected
    assert parameters(found) == ("dpo_nll", {"beta": 0.05, "alpha": pytest.approx(0.2)})
    assert found.complete, found.entries
    assert fates(found)["load_dataset"] == "translated" and "datasets" not in fates(found)


def test_names_adapters_files_and_changed_rows(read, fates):
    text = """
BASE = "org/base"
rows = load_dataset("json", data_files="pairs.jsonl")["train"]
rows = rows.map(render, num_proc=4)
rows = rows.shuffle(seed=1)
lora = LoraConfig(r=4, target_modules=["q_proj"], bias="none", task_type="CAUSAL_LM")
def main():
    args = trl.DPOConfig(f"{BASE}-dpo", learning_rate=5e-7, bf16=False)
    trainer = DPOTrainer(BASE, args=args, train_dataset=rows, peft_config=lora, ref_model=None)
"""
    found = read("trl", text, "run.py")
    recipe = found.recipe
    assert (recipe["model.path"], recipe["output_dir"]) == ("org/base", "org/base-dpo")
    assert recipe["data.path"] == "pairs.jsonl" and "data.split" not in recipe
    assert (recipe["model.lora.r"], recipe["model.lora.alpha"]) == (4, 8.0)  # PEFT's own alpha
    assert recipe["model.lora.target_modules"] == ["q_proj"]
    left = {key for key, fate in fates(found).items() if fate not in ("translated", "same")}
    assert left == {"train_dataset"}  # map is code; a shuffle leaves the same rows
    assert "ref_model" not in fates(found)


def test_what_the_trainer_is_given_besides_is_told(read, fates):
    text = PLAIN.replace("processing_class", "ref_model=ref, eval_dataset=x, processing_class")
    text = text.replace("dtype=torch.float32", "quantization_config=four_bits, device_map='auto'")
    ended = fates(read("trl", text, "run.py"))
    for key in ("ref_model", "eval_dataset", "quantization_config", "dtype"):
        assert ended[key] == "not translated", key
    assert ended["device_map"] == ended["processing_class"] == "same"


@pytest.mark.parametrize("name", ["KTO", "CPO", "ORPO", "Reward", "SFT"])
def test_the_class_says_the_method(name, read):
    text = f"""
{name}Trainer(model="m", args={name}Config("out"), train_dataset=load_dataset("org/d"))
"""
    assert read("trl", text, "run.py").read_as.startswith(name.lower())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("DPOConfig(beta=args.beta)", r"run.py:1: beta: `args.beta` is known only when"),
        ("DPOConfig(**options)", r"DPOConfig: `DPOConfig\(\*\*options\)` is known only when"),
        ("DPOTrainer(m, train_dataset=d)\nDPOConfig('o')", "model: `m` is known only when"),
        ("DPOTrainer('m', train_dataset=d)\nDPOConfig('o')", "train_dataset: `d` is known only"),
        ("DPOTrainer('m', peft_config=p)\nDPOConfig('o')", "peft_config: `p` is known only"),
        ("d = d.map(f)\nDPOTrainer('m', train_dataset=d)\nDPOConfig('o')", "train_dataset: `d`"),
        ("print('hello')", "run.py: no DPOConfig, KTOConfig"),
        ("def f(:", "run.py: not Python that can be read"),
        ("DPOConfig('o')", "no `model_name_or_path`"),
        ("DPOTrainer('m')\nDPOConfig('o')", "no `dataset_name`"),
    ],
)
def test_what_only_running_it_would_tell_is_an_error(text, message, read):
    with pytest.raises(LuceError, match=message):
        read("trl", text, "run.py")


def test_nothing_of_the_script_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("run.py").write_text(f"open('ran', 'w')\n{PLAIN}")
    import_file("trl", Path("run.py"))
    assert not Path("ran").exists()
