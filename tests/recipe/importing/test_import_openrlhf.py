import pytest

from luce.errors import LuceError

OLD = """set -x
read -r -d '' training_commands <<EOF
openrlhf.cli.train_dpo \\
   --save_path ./ckpt/dpo --save_steps -1 --eval_steps -1 --logging_steps 1 \\
   --train_batch_size 256 --micro_train_batch_size 1 --pretrain org/sft --bf16 \\
   --max_epochs 1 --max_len 8192 --learning_rate 5e-7 --beta 0.1 \\
   --lr_scheduler cosine --dataset org/pairs --apply_chat_template \\
   --prompt_key question --chosen_key chosen --rejected_key rejected --flash_attn \\
   --zero_stage 3 --packing_samples --gradient_checkpointing --use_wandb 0123456789
EOF
    # --ipo [for IPO]
if [[ ${1} != "slurm" ]]; then
    deepspeed --module $training_commands
fi
"""
NEW = (
    "torchrun --nproc-per-node 8 -m openrlhf.cli.train_{program} "
    "--model.model_name_or_path org/sft --data.dataset org/d --lr_scheduler linear {flags}\n"
)


def test_a_script_with_flags_of_earlier_versions(read):
    found = read("openrlhf", OLD, "train.sh")
    expected = {
        "model.path": "org/sft", "data.path": "org/pairs", "data.columns.prompt": "question",
        "data.render": "chat", "data.max_length": 8192, "data.truncation": "right_keep_eos",
        "objective": "dpo", "objective.dpo.beta": 0.1, "train.batch_size": 256,
        "train.learning_rate": 5e-7, "train.adam_beta2": 0.95, "train.warmup_ratio": 0.03,
        "train.gradient_checkpointing": True, "train.bf16": True, "train.report_to": "wandb",
        "output_dir": "./ckpt/dpo",
    }  # fmt: skip
    assert {key: found.recipe[key] for key in expected} == expected
    assert found.complete, [e for e in found.entries if e.fate not in ("translated", "same")]
    assert {e.key for e in found.entries} >= {"save_path", "pretrain", "flash_attn"}
    assert "0123456789" not in str(found.entries)


@pytest.mark.parametrize(
    ("program", "flags", "name", "expected"),
    [
        ("dpo", "--model.ipo_enable --model.beta 0.2", "ipo", {"tau": 0.2}),
        ("dpo", "--model.label_smoothing 0.1", "cdpo", {"beta": 0.1, "eps": 0.1}),
        ("dpo", "--model.nll_loss_coef 0.2", "dpo_nll", {"beta": 0.1, "alpha": 0.2}),
        ("rm", "", "bradley_terry", {}),
        ("rm", "--model.loss_type logexp", "bradley_terry", {}),
        ("sft", "--data.apply_chat_template --data.multiturn", "sft", {}),
        (
            "kto",
            "--data.apply_chat_template --desirable_loss_weight 1.5",
            "kto",
            {"beta": 0.01, "lam_d": 1.5, "lam_u": 1.0},
        ),
    ],
)
def test_objectives(program, flags, name, expected, read, parameters):
    found = read("openrlhf", NEW.format(program=program, flags=flags), "train.sh")
    assert parameters(found) == (name, expected)
    assert found.complete, [e for e in found.entries if e.fate not in ("translated", "same")]


def test_defaults_are_those_of_the_program(read):
    recipes = {
        p: read("openrlhf", NEW.format(program=p, flags=""), "t.sh").recipe
        for p in ("dpo", "rm", "sft")
    }
    rates = {p: recipe["train.learning_rate"] for p, recipe in recipes.items()}
    assert rates == {"dpo": 1e-5, "rm": 9e-6, "sft": 5e-6}
    lengths = {p: recipe["data.max_length"] for p, recipe in recipes.items()}
    assert lengths == {"dpo": 512, "rm": 512, "sft": 2048}
    assert all(recipe["train.batch_size"] == 128 for recipe in recipes.values())


@pytest.mark.parametrize(
    ("flags", "key"),
    [
        ("--lr_scheduler cosine_with_min_lr", "lr_scheduler"),
        ("--data.dataset org/a,org/b", "data.dataset"),
        ("--optim muon", "optim"),
        ("--ds.load_in_4bit", "ds.load_in_4bit"),
        ("--model.nll_loss_coef 0.1 --model.label_smoothing 0.1", "model.label_smoothing"),
        ("--data.input_template User:{}", "data.input_template"),
        ("--model.bta 0.1", "model.bta"),
    ],
)
def test_what_is_not_carried_over_is_said(flags, key, read, fates):
    found = read("openrlhf", NEW.format(program="dpo", flags=flags), "t.sh")
    assert fates(found)[key] in ("not translated", "unknown")


def test_the_schedule_that_is_the_default_is_said_too(read):
    text = "openrlhf.cli.train_dpo --model.model_name_or_path m --data.dataset org/d\n"
    found = read("openrlhf", text, "t.sh")
    left = [(e.key, e.default) for e in found.entries if e.fate == "not translated"]
    assert left == [("lr_scheduler", True)]


def test_betas_lora_and_a_reference(read):
    flags = "--adam.betas 0.8 0.99 --ds.lora.rank 16 --ref.model_name_or_path org/ref"
    recipe = read("openrlhf", NEW.format(program="dpo", flags=flags), "t.sh").recipe
    assert (recipe["train.adam_beta1"], recipe["train.adam_beta2"]) == (0.8, 0.99)
    assert (recipe["model.lora.r"], recipe["model.lora.alpha"]) == (16, 16.0)
    assert recipe["reference"] == "org/ref"


@pytest.mark.parametrize("flag", ["--full_determinism", "--train.full_determinism_enable"])
def test_the_same_bits_are_asked_for(flag, read):
    found = read("openrlhf", NEW.format(program="dpo", flags=flag), "t.sh")
    assert found.recipe["train.deterministic"] is True and found.complete
    plain = read("openrlhf", NEW.format(program="dpo", flags=""), "t.sh").recipe
    assert "train.deterministic" not in plain


def test_a_file_without_the_command(read):
    with pytest.raises(LuceError, match="neither `key: value` lines nor a command line"):
        read("openrlhf", "echo hello\n", "t.sh")
    with pytest.raises(LuceError, match=r"no command line of openrlhf\.cli\.train_dpo"):
        read("openrlhf", "beta: 0.1\n", "c.yaml")
