"""luce's side of a comparison against the definition, and both sides together."""

from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import shapes, steps
from benchmarks.cases import CASES, LUCE, ONLINE, PLAIN, VARIANTS
from benchmarks.corpora import Pair
from benchmarks.luce_side import LuceSide
from benchmarks.worker import send

BATCH = [Pair((5, 6, 7), (8, 9, 0), (10, 0)), Pair((11,), (12, 0), (13, 14, 15, 0))]


def log_prob(model: nn.Module, prompt: tuple[int, ...], response: tuple[int, ...]) -> torch.Tensor:
    """log π(y|x) from the logits of one sequence."""
    ids = torch.tensor([[*prompt, *response]])
    log_p = model(ids).logits.log_softmax(-1)[0, :-1]
    scored = log_p.gather(1, ids[0, 1:, None])[:, 0]
    return scored[len(prompt) - 1 :].sum()


def dpo(policy: nn.Module, reference: nn.Module) -> float:
    """The mean over BATCH of −log σ(0.1 · (log-ratio of chosen − of rejected))."""
    costs = []
    for pair in BATCH:
        ratios = [
            log_prob(policy, pair.prompt, y) - log_prob(reference, pair.prompt, y)
            for y in (pair.chosen, pair.rejected)
        ]
        costs.append(-nn.functional.logsigmoid(0.1 * (ratios[0] - ratios[1])))
    return float(torch.stack(costs).mean())


@pytest.mark.parametrize("online", [False, True])
def test_the_step_of_luce_gives_the_loss_and_leaves_the_weights(
    tmp_path: Path, online: bool
) -> None:
    reference = shapes.reference_model(shapes.SHAPES["tiny"])
    policy = shapes.policy_model(reference)
    with torch.no_grad():
        expected = dpo(policy, reference)
    before = [p.detach().clone() for p in policy.parameters()]
    side = LuceSide(policy, reference, tmp_path)
    side.precompute(BATCH)
    losses = [side.step(BATCH, online) for _ in range(2)]
    assert losses == pytest.approx([expected] * 2, abs=1e-6)
    assert abs(expected - 0.6931) > 1e-4  # the policy is not its reference
    after = list(policy.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(p.grad is not None for p in after)


def test_luce_runs_as_a_variant_of_a_case(tmp_path: Path) -> None:
    case = CASES["tiny"]
    work = steps.work(case, 2)
    sides, cells = steps.Sides(case, tmp_path), {}
    found = [
        [steps.runner(variant, sides, cells, work.mixed)(batch) for batch in work.mixed]
        for variant in (LUCE, PLAIN, ONLINE)
    ]
    assert found[0] == pytest.approx(found[1], abs=1e-6)
    assert found[0] == pytest.approx(found[2], abs=1e-6)
    useful = steps.useful(case, work.mixed)
    assert useful["tokens"] == [sum(p.shared for p in batch) for batch in work.mixed]


@pytest.mark.slow
def test_both_trainers_agree_on_the_loss(tmp_path: Path) -> None:
    job = {"kind": "steps", "case": "tiny", "rounds": 2, "threads": 1, "device": "cpu"}
    result = send(job, tmp_path / "result.json")
    assert set(result["times"]) == set(VARIANTS)
    assert 0 < result["loss_difference"] < 1e-5
