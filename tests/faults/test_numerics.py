"""Numbers that are none: in weights, logits, gradients and costs."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fault_bench import ANSWERED, COUNTED, SAME, Bench, case, lines, pair
from safetensors.torch import load_file, save_file

from luce.train.learners import PolicyLearner


def weights(path: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, {"format": "pt"})


def finite(folder: Path) -> bool:
    files = folder.glob("**/*.safetensors")
    return all(t.isfinite().all() for path in files for t in load_file(path).values())


def spoil(monkeypatch, change: Callable, at: int) -> None:
    """Change the log-probabilities that carry gradient, the `at`-th time they are made."""
    made, respond = {"times": 0}, PolicyLearner.respond_to

    def spoiled(self, *given, **named):
        found = respond(self, *given, **named)
        if found.policy.requires_grad:
            made["times"] += 1
            if made["times"] == at:
                return change(found)
        return found

    monkeypatch.setattr(PolicyLearner, "respond_to", spoiled)


@case(61, what="a weight that is nan", answer=ANSWERED)
def test_a_weight_that_is_nan(bench: Bench, says) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    weights(bench.model / "model.safetensors", lambda t: t[name][0].fill_(float("nan")))
    says(bench.train().refused(f"{name} holds a nan", "damaged"))
    assert not bench.run_folder.joinpath("metrics.jsonl").exists()


@case(62, what="logits that overflow", answer=ANSWERED)
def test_logits_that_overflow(bench: Bench, says) -> None:
    weights(bench.model / "model.safetensors", lambda t: t["lm_head.weight"].fill_(3e38))
    says(bench.train().refused(f"{bench.data}:", "costs nan at step 1", "nonfinite.jsonl"))
    assert len(lines(bench.run_folder / "nonfinite.jsonl")) == 4
    assert not bench.run_folder.joinpath("model").exists()


@pytest.mark.parametrize(
    "beta",
    [
        pytest.param(0.0, marks=case(63, what="β = 0", answer=ANSWERED)),
        pytest.param(-0.1, marks=case(63, what="β < 0", answer=ANSWERED)),
    ],
)
def test_a_beta_that_is_none(bench: Bench, says, beta: float) -> None:
    bench.set(objective={"dpo": {"beta": beta}})
    says(bench.train().refused("objective.dpo.beta", f"{beta} is not a positive, finite number"))


@case(63, what="β = 1000000", answer=SAME)
def test_a_huge_beta(bench: Bench, says) -> None:
    bench.set(objective={"dpo": {"beta": 1e6}}, train={"max_steps": 4})
    said = bench.train().done().err
    assert all(math.isfinite(record["loss"]) for record in bench.metrics)
    assert finite(bench.run_folder)
    (line,) = [line for line in said.splitlines() if line.startswith("warning: ")]
    says(f"every loss and weight is finite; {line}")


FAR = {"learning_rate": 0.3, "max_steps": 6, "warmup_ratio": 0.0, "max_grad_norm": 1e6}


@pytest.mark.parametrize(
    "objective",
    [
        pytest.param(
            objective,
            marks=case(64, what=f"{what} with a policy far from its reference", answer=SAME),
            id=what,
        )
        for what, objective in {
            "forward KL": {"fdpo": {"divergence": "forward_kl"}},
            "DiscoPOP": {"discopop": {}},
        }.items()
    ],
)
def test_a_policy_that_is_far_away(bench: Bench, says, objective) -> None:
    bench.set(objective=objective, train=FAR)
    bench.train().done()
    losses = [record["loss"] for record in bench.metrics]
    margins = [abs(record["rewards/margins"]) for record in bench.metrics]
    assert all(map(math.isfinite, losses)) and max(margins) > 1 and finite(bench.run_folder)
    says(f"margins up to {max(margins):.3g}; every loss and every weight is finite")


@case(65, what="one gradient that is nan", answer=ANSWERED)
def test_one_gradient_that_is_nan(bench: Bench, says, monkeypatch) -> None:
    def nan_gradient(found):
        found.policy.register_hook(lambda g: torch.full_like(g, float("nan")))
        return found

    bench.set(train={"max_steps": 4, "save_steps": 1, "batch_size": 8})
    spoil(monkeypatch, nan_gradient, at=3)
    says(bench.train().refused("step 3: the gradient of", "is not finite", "No weight was changed"))
    assert [record["step"] for record in bench.metrics] == [1, 2] and finite(bench.run_folder)
    manifest = json.loads((bench.run_folder / "manifest.json").read_text())
    assert manifest["status"] == "failed" and not (bench.run_folder / "model").exists()
    monkeypatch.undo()
    monkeypatch.chdir(bench.folder)
    bench.train("--resume").done()
    assert [record["step"] for record in bench.metrics] == [1, 2, 3, 4]


@case(68, what="a response of probability zero", answer=ANSWERED)
def test_a_response_of_probability_zero(bench: Bench, says, monkeypatch) -> None:
    def impossible(found):
        policy = found.policy.clone()
        policy[0] = -math.inf
        return replace(found, policy=policy)

    spoil(monkeypatch, impossible, at=1)
    says(bench.train().refused(f"{bench.data}:", "costs inf at step 1", "nonfinite.jsonl"))
    (row, *_) = lines(bench.run_folder / "nonfinite.jsonl")
    assert row["file"] == str(bench.data) and row["step"] == 1 and row["id"].startswith("r")


def cost(bench: Bench, name: str, rows: list[dict], *more: str):
    path = bench.folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return bench.ask(["cost", str(path), "--objective", name, "--grad", "--json", *more])


@case(66, what="ORPO where a response has probability one", answer=SAME)
def test_orpo_at_probability_one(bench: Bench, says) -> None:
    ends = (0.0, -1e-8, -1.0)
    rows = [
        {"id": f"{a} {b}", "chosen": {"policy": [a]}, "rejected": {"policy": [b]}}
        for a in ends
        for b in ends
    ]
    for dtype in ("float32", "float64"):
        found = cost(bench, "orpo", rows, "--dtype", dtype).done().json
        numbers = [x for row in found for x in (row["cost"], *gradient(row))]
        assert all(map(math.isfinite, numbers)), found
    says(f"cost {found[0]['cost']:.4g} and a finite gradient where both are 1")


def gradient(row: dict) -> list[float]:
    flat: list[float] = []

    def take(value) -> None:
        if isinstance(value, dict):
            for part in value.values():
                take(part)
        elif isinstance(value, list):
            for part in value:
                take(part)
        elif value is not None:
            flat.append(float(value))

    take(row["gradient"] if "gradient" in row else row["grad"])
    return flat


@pytest.mark.parametrize("name", ["simpo", "ipo"])
@case(67, what="a response of no tokens under a mean over tokens", answer=ANSWERED)
def test_a_response_of_no_tokens(bench: Bench, says, name: str) -> None:
    y = {"policy": [-1.0], "reference": [-1.0]}
    y = y if name == "ipo" else {"policy": [-1.0]}
    empty = {key: [] for key in y}
    says(cost(bench, name, [{"chosen": y, "rejected": empty}]).refused("rows.jsonl:1", "rejected"))


@case(67, 70, what="responses that truncation leaves no token of", answer=COUNTED)
def test_truncation_leaves_no_token(bench: Bench, says) -> None:
    rows = [pair(i) for i in range(4)]
    rows[1]["prompt"][0]["content"] = "dog " * 200
    bench.put(rows)
    bench.set(data={"truncation": "right_keep_eos"}, objective={"simpo": {}}, reference="none")
    bench.train().done()
    assert math.isfinite(bench.metrics[-1]["loss"])
    (entry,) = bench.rows
    assert (entry["line"], entry["action"], entry["reason"]) == (2, "dropped", "too_long")
    says(f"rows.jsonl: line 2, dropped: {entry['detail']}")


@case(69, what="8192 log-probabilities added up under a 16-bit model", answer=SAME)
def test_sums_are_made_in_float32(bench: Bench, says) -> None:
    long = {**pair(0)}
    long["chosen"] = [{"role": "assistant", "content": "the quick brown fox " * 20}]
    bench.put([long, *(pair(i) for i in range(1, 4))])
    found = {}
    for dtype in ("float32", "bfloat16", "float16"):
        bench.set(
            model={"dtype": dtype}, output_dir=str(bench.folder / dtype), data={"max_length": 400}
        )
        bench.train().done()
        record = bench.metrics[0]
        found[dtype] = record["logps_per_token/chosen"]
    assert abs(found["bfloat16"] - found["float32"]) < 0.03
    assert abs(found["float16"] - found["float32"]) < 0.01
    from luce.numerics import segment_sum
    from luce.types import Responses

    many = torch.full((8192,), -0.01)
    y = Responses(many, torch.tensor([8192]))
    assert y.log_prob.dtype == torch.float32
    assert abs(float(y.log_prob) + 81.92) < 1e-3
    assert abs(float(segment_sum(many.half(), torch.tensor([8192]))) + 81.92) > 1e-2
    off = abs(found["bfloat16"] - found["float32"])
    says(f"log-probabilities are float32: {off:.1g} nats a token off float32 weights")


@case(71, what="accuracy before the first step, where every margin is 0", answer=SAME)
def test_ties_are_a_half(bench: Bench, says) -> None:
    bench.set(data={"eval": 0.5})
    bench.train().done()
    first = bench.metrics[0]
    assert first["step"] == 0 and first["eval_rewards/accuracies"] == 0.5
    trained = next(r for r in bench.metrics if r["split"] == "train")
    assert trained["rewards/accuracies"] == 0.5
    says("0.5, of the held-out rows and of the first step's")
