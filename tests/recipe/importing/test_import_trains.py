"""A configuration of each program, translated by the command and trained for two steps."""

import json
from pathlib import Path

import pytest

from luce.cli.main import run as luce_command

TRL = """model_name_or_path: {model}
dataset_name: {pairs}
per_device_train_batch_size: 2
gradient_accumulation_steps: 2
max_steps: 2
learning_rate: 1.0e-3
beta: 0.5
loss_type: [sigmoid, sft]
bf16: false
gradient_checkpointing: false
eval_strategy: 'no'
output_dir: {run}
"""
TRL_SCRIPT = """
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer

model = AutoModelForCausalLM.from_pretrained("{model}", dtype="float32")
tokenizer = AutoTokenizer.from_pretrained("{model}")
dataset = load_dataset("json", data_files="{pairs}", split="train")
args = DPOConfig(
    output_dir="{run}", beta=0.5, learning_rate=1e-3, max_steps=2, bf16=False,
    per_device_train_batch_size=2, gradient_accumulation_steps=2, gradient_checkpointing=False,
)
DPOTrainer(model=model, args=args, processing_class=tokenizer, train_dataset=dataset).train()
"""
TRL_COMMAND = """
accelerate launch --num_processes 2 trl/scripts/dpo.py --model_name_or_path {model} \\
    --dataset_name {pairs} --per_device_train_batch_size 2 --max_steps 2 --learning_rate 1e-3 \\
    --beta 0.5 --bf16 false --no_gradient_checkpointing --eval_strategy no --output_dir {run}
"""
LLAMAFACTORY = """model_name_or_path: {model}
stage: dpo
do_train: true
finetuning_type: lora
lora_rank: 4
lora_target: all
pref_beta: 0.5
pref_loss: sigmoid
dataset: mine
dataset_dir: {folder}
template: default
cutoff_len: 256
per_device_train_batch_size: 2
gradient_accumulation_steps: 2
learning_rate: 1.0e-3
max_steps: 2
bf16: false
output_dir: {run}
"""
AXOLOTL = """base_model: {model}
rl: dpo
rl_beta: 0.5
datasets:
  - path: json
    data_files: [{pairs}]
    type: chat_template.default
sequence_len: 256
micro_batch_size: 2
gradient_accumulation_steps: 2
learning_rate: 1.0e-3
max_steps: 2
bf16: false
output_dir: {run}
"""
OPENRLHF = """
deepspeed --module openrlhf.cli.train_dpo --pretrain {model} --dataset {pairs} --beta 0.5 \\
    --train_batch_size 4 --learning_rate 1e-3 --max_len 256 --lr_scheduler cosine \\
    --prompt_key prompt --apply_chat_template --bf16 --save_path {run}
"""
CASES = {
    "a file of TRL": ("trl", "dpo.yaml", TRL, "dpo_nll", 4),
    "a script of TRL": ("trl", "train.py", TRL_SCRIPT, "dpo", 4),
    "a command line of TRL": ("trl", "run.sh", TRL_COMMAND, "dpo", 4),
    "LLaMA-Factory": ("llamafactory", "dpo.yaml", LLAMAFACTORY, "dpo", 4),
    "axolotl": ("axolotl", "dpo.yml", AXOLOTL, "dpo", 4),
    "OpenRLHF": ("openrlhf", "train.sh", OPENRLHF, "dpo", 4),
}


@pytest.mark.parametrize("case", CASES)
def test_a_translated_configuration_trains(
    case, pairs, tiny_model_dir, tmp_path, monkeypatch, capsys
):
    peer, name, text, objective, size = CASES[case]
    monkeypatch.chdir(tmp_path)
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    Path("alpaca.json").write_text(
        json.dumps([{**row, "instruction": row["prompt"]} for row in rows])
    )
    Path("dataset_info.json").write_text(
        json.dumps({"mine": {"file_name": "alpaca.json", "ranking": True}})
    )
    places = {"model": tiny_model_dir, "pairs": pairs, "run": tmp_path / "run", "folder": tmp_path}
    Path(name).write_text(text.format(**places))
    assert luce_command(["import", peer, name, "--out", "recipe.yaml"]) in (0, 1)
    told = capsys.readouterr().out
    fewer = ["train.max_steps=2", "evaluate.sample_prompts=0", "diagnose=[]"]
    assert luce_command(["train", "recipe.yaml", *fewer]) == 0, told
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert manifest["status"] == "finished" and manifest["objective"]["name"] == objective
    assert manifest["objective"]["parameters"]["beta"] == 0.5
    steps = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert max(row["step"] for row in steps) == 2
    recipe = (tmp_path / "recipe.yaml").read_text()
    assert f"batch_size: {size}" in recipe and "learning_rate: 0.001" in recipe
