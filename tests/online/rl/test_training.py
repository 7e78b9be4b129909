"""Training on a tiny language model: the reward goes up, the KL is held, a resume is exact."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from luce.data.template import Renderer
from luce.models.engine import SamplingSettings
from luce.models.policy import load_policy
from luce.models.reference import open_reference
from luce.online.rl import (
    Actors,
    DrGrpo,
    Grpo,
    Plan,
    Ppo,
    Prompt,
    Reinforce,
    Rloo,
    RLTrainer,
    RolloutSettings,
    load_critic,
    rl_fit,
)
from luce.train.anomalies import RecentNorms
from luce.train.lines import RunFolder
from luce.train.nonfinite import NonFiniteStep
from luce.train.settings import TrainSettings
from luce.types import Place

METHODS = [
    Reinforce(beta=0.01),
    Rloo(beta=0.01),
    Grpo(beta=0.01),
    DrGrpo(),
    Ppo(beta=0.01, critic_learning_rate=0.01),
]
WORDS = ["say one", "the cat sat", "a red house by the sea", "dog"]


def vowels(asked):
    """A rule: the share of vowels."""
    return [[sum(c in "aeiou" for c in t) / max(1, len(t)) for t in texts] for _, texts in asked]


@dataclass
class Bench:
    """Makes trainers on the tiny model, each from its start."""

    model: Path
    folder: Path

    def trainer(self, method, name="run", rounds=8, grade=vowels, n=8, **train) -> RLTrainer:
        policy = load_policy(str(self.model), dtype="float32", device="cpu")
        renderer = Renderer(policy.tokenizer, render="plain")
        critic = None
        if isinstance(method, Ppo):
            end = renderer.terminator
            critic = load_critic(str(self.model), terminator=end, dtype="float32", device="cpu")
        reference = open_reference("initial", policy)
        assert reference is not None
        prompts = [
            Prompt(f"p{i}", Place("prompts.jsonl", i + 1), text, tuple(renderer.prompt_ids(text)))
            for i, text in enumerate(WORDS)
        ]
        settings = {
            "learning_rate": 0.01, "batch_size": 2, "lr_scheduler_type": "constant",
            "warmup_ratio": 0.0, "save_steps": 3,
        } | train  # fmt: skip
        return RLTrainer(
            Actors(policy, renderer, grade, reference.resident(), critic),
            method,
            prompts,
            Plan(rounds, len(prompts)),
            RolloutSettings(n, SamplingSettings(max_new_tokens=6), block=3),
            TrainSettings(**settings),
            self.folder / name,
        )

    def fit(self, trainer, name="run", **options) -> list[dict]:
        path = RunFolder(self.folder / name)
        path.path.mkdir(exist_ok=True)
        return list(rl_fit(trainer, path, {"of": trainer.method.name}, **options))


@pytest.fixture
def bench(tiny_model_dir, tmp_path) -> Bench:
    return Bench(tiny_model_dir, tmp_path)


def weights(trainer) -> dict[str, bytes]:
    return {k: v.cpu().numpy().tobytes() for k, v in trainer.state()[0].items()}


@pytest.mark.parametrize("method", METHODS, ids=[m.name for m in METHODS])
def test_every_method_raises_the_reward_of_a_rule(bench, method):
    records = bench.fit(bench.trainer(method, rounds=7))
    rounds = [r for r in records if r["split"] == "round"]
    assert rounds[0]["reward"] < 0.15
    assert rounds[-1]["reward"] > rounds[0]["reward"] + 0.1
    assert rounds[0]["kl"] == pytest.approx(0, abs=1e-4)
    assert rounds[-1]["kl"] > 1
    steps = [r for r in records if r["split"] == "train"]
    assert len(steps) == 14 and all(r["sampler_gap"] < 1e-5 for r in rounds)
    names = {
        "loss", "reward", "reward/sd", "reward/se", "kl", "kl_per_token", "kl/k3",
        "kl/k3_per_token", "entropy", "ratio", "approx_kl", "length", "ended", "grad_norm",
        "learning_rate",
    }  # fmt: skip
    assert names <= steps[0].keys()
    assert ("clipfrac" in steps[0]) == (method.clip is not None)
    assert ("explained_variance" in steps[0]) == isinstance(method, Ppo)
    assert steps[0]["ratio"] == pytest.approx(1.0, abs=1e-4)  # nothing has moved yet
    assert steps[1]["ratio"] != pytest.approx(1.0, abs=1e-6)


def test_a_high_price_keeps_the_policy_near_its_reference(bench):
    """Even so the steps' noise moves it: AdamW's steps are as long where the gradient is noise."""
    ends = []
    for beta in (0.0, 1.0):
        name, schedule = f"beta-{beta}", {"learning_rate": 0.003, "batch_size": 4}
        trainer = bench.trainer(Rloo(beta=beta), name, rounds=14, n=16, **schedule)
        records = bench.fit(trainer, name)
        ends.append([r for r in records if r["split"] == "round"][-1]["kl"])
    assert ends[1] < 0.4 * ends[0]


def test_a_bonus_on_entropy_keeps_it_up(bench):
    ends = []
    for worth in (0.0, 1.0):
        name = f"entropy-{worth}"
        method = Rloo(beta=0.0, entropy=worth)
        records = bench.fit(bench.trainer(method, name, rounds=6), name)
        ends.append([r for r in records if r["split"] == "round"][-1]["entropy"])
    assert ends[1] > ends[0] + 0.5


@pytest.mark.parametrize(
    "method", [Reinforce(beta=0.01, baseline="running"), METHODS[-1]], ids=["running", "ppo"]
)
@pytest.mark.parametrize("stop", [3, 4])
def test_a_run_that_stopped_anywhere_ends_as_the_undisturbed_one(bench, method, stop):
    """After step 3 of 8 the run stands within round 2, after step 4 between two rounds; the
    checkpoint is of step 3."""
    calm = bench.trainer(method, "calm", rounds=4)
    bench.fit(calm, "calm")
    first = bench.trainer(method, rounds=4)
    path = RunFolder(bench.folder / "run")
    path.path.mkdir()
    seen = 0
    for record in rl_fit(first, path, {"of": method.name}):
        seen += record["split"] == "train"
        if seen == stop and record["split"] == "train":
            if stop == 3:  # the checkpoint comes after the record
                continue
            break
        if seen > 3:
            break
    asked = []

    def counted(batch):
        asked.append(len(batch))
        return vowels(batch)

    again = bench.trainer(method, rounds=4, grade=counted)
    records = bench.fit(again, resume=True)
    assert records[0]["note"].startswith("Resumed at step 3 ")
    assert weights(again) == weights(calm)
    for name in ("metrics.jsonl", "rounds.jsonl"):
        assert (bench.folder / "run" / name).read_text() == (
            bench.folder / "calm" / name
        ).read_text()
    assert sum(asked) == 2 * len(WORDS)  # rounds 1 and 2 are graded already


def test_a_step_that_is_not_finite_changes_nothing(bench):
    trainer = bench.trainer(Rloo(beta=0.0), rounds=1)
    records = trainer.steps()
    next(records)  # the round
    found = trainer._now
    assert found is not None
    broken = tuple(a * float("inf") for a in found.advantage)
    trainer._now = replace(found, advantage=broken)
    before = weights(trainer)
    with pytest.raises(NonFiniteStep, match="No weight was changed"):
        next(records)
    assert weights(trainer) == before


def test_rows_of_a_bad_step_are_written(bench):
    trainer = bench.trainer(Rloo(beta=0.0), rounds=1)
    whole = trainer._begin

    def spoiled():
        yield from whole()
        assert trainer._now is not None
        broken = tuple(a * float("inf") for a in trainer._now.advantage)
        trainer._now = replace(trainer._now, advantage=broken)

    trainer._begin = spoiled
    with pytest.raises(NonFiniteStep):
        bench.fit(trainer)
    rows = (bench.folder / "run" / "nonfinite.jsonl").read_text().splitlines()
    assert json.loads(rows[0])["id"].startswith("p")


def test_a_gradient_that_overflows_names_its_prompts(bench):
    trainer = bench.trainer(Rloo(), rounds=1)
    add = trainer.add_gradients

    def overflowing(found, numbers):
        means = add(found, numbers)
        if any(found.rollouts[i].group.id == "p2" for i in numbers):
            for parameter in trainer.optimizers["policy"].parameters.values():
                if parameter.grad is not None:
                    parameter.grad *= float("inf")
        return means

    trainer.add_gradients = overflowing
    said = r"is not finite \(norm nan\), of the policy. prompts.jsonl:3: the gradient of this row"
    with pytest.raises(NonFiniteStep, match=said):
        bench.fit(trainer)
    (row,) = (bench.folder / "run" / "nonfinite.jsonl").read_text().splitlines()
    assert json.loads(row)["id"] == "p2" and json.loads(row)["grad_norm"] == "nan"


def test_a_spike_is_told_and_a_round_without_gradient_is_not(bench):
    calm = [1.0, 1.1, 0.9] * 10
    trainer = bench.trainer(Rloo(), rounds=1, max_grad_norm=1e9)
    for before, typical in ((1e-7, True), (1e9, False)):
        trainer.norms = RecentNorms(before * norm for norm in calm)
        record = next(r for r in trainer.steps() if r["split"] == "train")
        assert record["grad_norm"] > 0 and record["grad_norm/clipped"] == 0.0
        assert ("grad_norm/typical" in record) == typical
    assert trainer.state()[1]["norms"][-1] == record["grad_norm"]


def test_epochs_and_max_steps_count_as_they_say(bench):
    trainer = bench.trainer(Grpo(), rounds=3, epochs=2.0)
    assert (trainer.steps_per_round, trainer.total_steps) == (4, 12)
    assert bench.trainer(Grpo(), rounds=3, max_steps=5).total_steps == 5
    assert [p.id for p in trainer.prompts_of(1)] == ["p0", "p1", "p2", "p3"]


def test_the_policy_gradient_does_not_reach_the_critic_nor_the_other_way(bench):
    trainer = bench.trainer(Ppo(beta=0.0), rounds=1)
    critic = trainer.actors.critic
    assert critic is not None
    mine = {id(p) for p in trainer.optimizers["policy"].parameters.values()}
    theirs = {id(p) for p in trainer.optimizers["critic"].parameters.values()}
    assert not mine & theirs
    next(trainer.steps())
    found = trainer._now
    assert found is not None
    zero = replace(found, advantage=tuple(torch.zeros_like(a) for a in found.advantage))
    trainer.add_gradients(zero, range(4))
    policy = trainer.optimizers["policy"].parameters.values()
    assert all(p.grad is None or not p.grad.any() for p in policy)
    assert any(p.grad is not None and p.grad.any() for p in critic.trainable().values())


def test_the_running_baseline_is_the_mean_of_the_rounds_before(bench):
    trainer = bench.trainer(Reinforce(beta=0.0, baseline="running"), rounds=3)
    steps, before = trainer.steps(), []
    for number in (1, 2, 3):
        assert next(steps)["split"] == "round"
        found = trainer._now
        assert found is not None and trainer.round == number
        mean = sum(before) / len(before) if before else 0.0
        for rollout, advantage in zip(found.rollouts, found.advantage, strict=True):
            expected = torch.repeat_interleave(rollout.reward - mean, torch.tensor(rollout.lengths))
            torch.testing.assert_close(advantage, expected)
        before += [r for rollout in found.rollouts for r in rollout.reward.tolist()]
        next(steps), next(steps)
