"""The whole way on real human pairs: a new model out of text, SFT, then DPO and SimPO, each with a
held-out accuracy and its interval in the report."""

import json
from itertools import islice
from pathlib import Path

import pytest

from luce.data import rows
from luce.models.tiny import Shape, new_model_folder
from luce.recipe.run import train_run


@pytest.mark.slow
def test_preference_training_on_human_pairs_reports_accuracy_with_its_interval(real_data, tmp_path):
    corpus, pairs = real_data("corpus.jsonl.gz"), real_data("hh_harmless_raw.jsonl.gz")
    texts = (record["text"] for _, record in islice(rows.read(str(corpus)), 2000))
    new_model_folder(
        tmp_path / "new",
        texts,
        vocab_size=2048,
        shape=Shape(hidden=64, layers=2, heads=2, max_positions=512),
    )
    sft = train_run(
        {
            "output_dir": str(tmp_path / "sft"),
            "model": str(tmp_path / "new"),
            "data": {"path": str(corpus), "max_length": 128, "truncation": "right_keep_eos"},
            "objective": "sft",
            "train": {"learning_rate": 3e-3, "max_steps": 60},
            "evaluate": {"sample_prompts": 0},
        }
    )
    for objective in ("dpo", {"simpo": {"beta": 2.0, "gamma_beta_ratio": 0.5}}):
        name = objective if isinstance(objective, str) else next(iter(objective))
        run = train_run(
            {
                "output_dir": str(tmp_path / name),
                "model": str(sft / "model"),
                "data": {"path": str(pairs), "bad_rows": "drop", "max_length": 384, "eval": 0.15},
                "objective": objective,
                "train": {"learning_rate": 1e-3},
                "evaluate": {"sample_prompts": 8, "max_new_tokens": 24},
            }
        )
        _check(run)


def _check(run: Path) -> None:
    held_out = json.loads((run / "evaluation.json").read_text())["held_out"]
    assert held_out["n"] > 200
    assert held_out["accuracy_low"] < held_out["accuracy"] < held_out["accuracy_high"]
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["data"]["train"]["rows_read"] == 1800
    dropped = [json.loads(line) for line in (run / "rows.jsonl").read_text().splitlines()]
    reasons = [entry["reason"] for entry in dropped if entry["action"] == "dropped"]
    assert len(reasons) == manifest["data"]["train"]["dropped"]
    assert reasons.count("empty") == 4 and reasons.count("role") == 5
    page = (run / "report.html").read_text()
    assert f"{100 * held_out['accuracy']:.1f}" in page and str(held_out["n"]) in page
