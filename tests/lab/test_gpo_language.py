"""The small language model of GPO's experiments: what a look measures, against sums by hand; and
the two experiments made of looks."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from luce.data.worlds.tasks import Tasks, gold
from luce.lab import gpo_kl, gpo_language, gpo_win_rate
from luce.lab.gpo_family import FAMILY
from luce.lab.gpo_language import Look, Plan, look, prepare, trained
from luce.lab.write import plain
from luce.models.tiny import Shape
from luce.objectives import OBJECTIVES

SMALL = Plan(
    demonstrations=480,
    prompts=24,
    held_out=6,
    pairs_looked_at=8,
    steps=6,
    batch=8,
    rate=3e-3,
    shape=Shape(hidden=32, layers=1, heads=2, max_positions=256),
    vocabulary=400,
)


@pytest.fixture(scope="module")
def start():
    return prepare(0, SMALL)


@pytest.fixture(scope="module")
def looks(start):
    return trained(start, OBJECTIVES["dpo"](beta=0.1), [3, 6])


def failed(result):
    return [check.what for check in result.checks if not check.passed]


def test_the_reference_is_no_way_from_itself(start):
    seen = look(start, start.policy, 0)
    assert seen.kl == pytest.approx(0.0, abs=1e-6)
    assert seen.squared == pytest.approx(0.0, abs=1e-9)
    assert len(seen.rewards) == 6 and 0 <= seen.rewards.min() <= seen.rewards.max() <= 2


def test_training_moves_a_copy_and_leaves_the_reference(start, looks):
    assert [seen.step for seen in looks] == [3, 6]
    assert 0 < looks[0].kl and looks[0].squared < looks[1].squared
    assert look(start, start.policy, 0).kl == pytest.approx(0.0, abs=1e-6)


def test_a_look_is_the_sum_over_the_vocabulary_and_over_pairs_by_hand(start, monkeypatch):
    """log-probabilities from the network's own logits, response by response."""
    seen, policies = {}, []

    def logits(policy, group, branch):
        ids = torch.tensor([[*group.prompt.tolist(), *branch.ids.tolist()]])
        with torch.no_grad(), policy.plain_attention():
            rows = policy.module(input_ids=ids).logits[0].double().log_softmax(-1)
        return rows[len(group.prompt) - 1 : -1]

    def remember(start, policy, step):
        policies.append(policy)
        return look(start, policy, step)

    def keep_groups(groups):
        seen.setdefault("samples", groups)
        return packed(groups)

    monkeypatch.setattr("luce.lab.gpo_language.look", remember)
    packed = gpo_language.pack
    found = trained(start, OBJECTIVES["gpo_square"](beta=0.1), [6])[0]
    policy = policies[0]
    monkeypatch.setattr("luce.lab.gpo_language.pack", keep_groups)
    assert look(start, policy, 6).kl == pytest.approx(found.kl)

    total = 0.0
    for group in seen["samples"]:
        ours, theirs = (logits(p, group, group.branches[0]) for p in (policy, start.policy))
        total += (ours.exp() * (ours - theirs)).sum().item()
    assert found.kl == pytest.approx(total / len(seen["samples"]), rel=1e-3)

    squares = []
    for group in start.pairs[:8]:
        ratio = []
        for branch in group.branches:
            at = torch.tensor(branch.ids.astype("int64"))[:, None]
            ours, theirs = (logits(p, group, branch).gather(1, at) for p in (policy, start.policy))
            ratio.append((ours - theirs).sum().item())
        squares.append((ratio[0] - ratio[1]) ** 2)
    assert found.squared == pytest.approx(0.5 * sum(squares) / len(squares), rel=1e-3)


def test_the_annotator_prefers_what_is_better():
    """At a temperature near 0 always; equal ones are drawn."""
    start = prepare(1, replace(SMALL, prompts=60, temperature=1e-6))
    asked = Tasks(1).prompts(SMALL.demonstrations + 60)[SMALL.demonstrations :]
    by_ids = {tuple(start.renderer.prompt_ids(prompt)): prompt for prompt in asked}
    gaps = []
    for group in start.pairs:
        prompt = by_ids[tuple(group.prompt.tolist())]
        better, worse = (start.renderer.response_text(b.ids.tolist()) for b in group.branches)
        gaps.append(gold(prompt, better).total - gold(prompt, worse).total)
    assert min(gaps) > -1e-9 and sum(gap > 0.01 for gap in gaps) >= 5


def made_up(seeds, betas, kl_of):
    """Traces in which a small β goes further, KL bends at 10 nats², and is noisier at a small β."""
    found = {}
    generator = torch.Generator().manual_seed(0)
    for seed in range(seeds):
        for i, name in enumerate(FAMILY):
            for beta in betas:
                looks = []
                for step in gpo_kl.LOOKS:
                    squared = 0.2 * step * beta**-0.4 * (1 + 0.05 * i)
                    noise = torch.randn((), generator=generator).item()
                    spread = 0.6 if beta == min(betas) else 0.05
                    kl = kl_of(squared) * (1 + 0.4 * spread * noise)
                    rewards = torch.full((9,), 0.6 + 0.1 * i, dtype=torch.float64)
                    looks.append(Look(step, abs(kl), squared, rewards))
                found[seed, name, beta] = looks
    first = Look(0, 0.0, 0.0, torch.full((9,), 0.5, dtype=torch.float64))
    return [first] * seeds, found


def bent(squared):
    return 0.2 * min(squared, 10.0) ** 0.8 * max(squared / 10.0, 1.0) ** 0.2


def test_the_claims_are_read_off_traces_and_a_mixed_up_axis_is_seen(monkeypatch):
    experiment = gpo_kl.EXPERIMENT
    monkeypatch.setattr(
        gpo_kl, "traces", lambda seeds, plan, losses, betas, looks: made_up(seeds, betas, bent)
    )
    result = experiment.run(3, False)
    assert failed(result) == []
    assert set(result.figures) == {"kl", "each_loss"}
    json.dumps(plain(experiment, result, 3, False), allow_nan=False)

    def swapped(seeds, plan, losses, betas, looks):
        first, found = made_up(seeds, betas, bent)
        turned = {
            key: [replace(seen, kl=seen.squared, squared=seen.kl) for seen in some]
            for key, some in found.items()
        }
        return first, turned

    monkeypatch.setattr(gpo_kl, "traces", swapped)
    assert "slope of log KL on log squared loss" in failed(experiment.run(3, False))


def graded(seeds, betas):
    """Ends that beat the start by most at β = 0.1, whatever the loss."""
    generator = torch.Generator().manual_seed(0)
    gains = {0.02: -0.1, 0.1: 0.4, 0.5: 0.3, 2.0: 0.2, 5.0: 0.1}
    first, found = [], {}
    for seed in range(seeds):
        start = torch.rand(60, generator=generator, dtype=torch.float64)
        first.append(Look(0, 0.0, 0.0, start))
        for name in FAMILY:
            for beta in betas:
                noise = 0.5 * torch.rand(60, generator=generator, dtype=torch.float64) - 0.25
                found[seed, name, beta] = [Look(48, 1.0, 1.0, start + gains[beta] + noise)]
    return first, found


def test_win_rates_are_read_off_the_last_look_and_swapped_sides_are_seen(monkeypatch):
    experiment, right = gpo_win_rate.EXPERIMENT, gpo_win_rate._beats
    monkeypatch.setattr(
        gpo_win_rate, "traces", lambda seeds, plan, losses, betas, looks: graded(seeds, betas)
    )
    result = experiment.run(3, False)
    assert failed(result) == []
    json.dumps(plain(experiment, result, 3, False), allow_nan=False)
    rows = {(r["loss"], r["against"]): r["win_rate"] for r in result.tables["loss_by_loss"]}
    assert rows["hinge", "square"] == pytest.approx(1 - rows["square", "hinge"])
    monkeypatch.setattr(gpo_win_rate, "_beats", lambda a, b: right(b, a))
    assert "logistic, β = 0.1: win rate" in failed(experiment.run(3, False))


@pytest.mark.slow
@pytest.mark.parametrize("experiment", [gpo_kl.EXPERIMENT, gpo_win_rate.EXPERIMENT])
def test_every_check_holds_in_the_quick_run(experiment):
    assert failed(experiment.run(experiment.quick_seeds, True)) == []


@pytest.mark.slow
def test_every_check_holds_in_the_full_run_of_traces():
    assert failed(gpo_kl.EXPERIMENT.run(gpo_kl.EXPERIMENT.seeds, False)) == []


@pytest.mark.slow
def test_every_check_holds_in_the_full_run_of_win_rates_and_the_page_shows_them():
    result = gpo_win_rate.EXPERIMENT.run(gpo_win_rate.EXPERIMENT.seeds, False)
    assert failed(result) == []
    page = Path(__file__).parents[2].joinpath("docs/lab_gpo.md").read_text(encoding="utf-8")
    for row in result.tables["against_the_start"]:
        half = (row["win_rate_high"] - row["win_rate_low"]) / 2
        assert f"{row['win_rate']:.2f} ± {half:.2f} |" in page
