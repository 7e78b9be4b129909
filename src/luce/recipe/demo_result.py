"""What the demo's preferences were worth: two policies on held-out prompts, by the gold reward."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luce.data.template import Renderer
from luce.data.worlds.tasks import gold, taste
from luce.evaluate import Generation, mean_by_prompt, sample_side_by_side, win_rate
from luce.files import write_json, write_jsonl
from luce.intervals import Estimate
from luce.models.engine import SamplingSettings
from luce.models.policy import load_policy
from luce.recipe.sampling import answer
from luce.report import write_card, write_report

PARTS = ("correct", "concise", "polite", "total")
SHOWN = 64


@dataclass(frozen=True)
class Result:
    """Before and after, on the same prompts.

    Attributes:
        win_rate: the `win_rate` entry of evaluation.json: value, low, high, n, ties.
        before, after: name of a part of the gold reward, or `tokens` → its mean.
    """

    win_rate: dict[str, Any]
    before: dict[str, Estimate]
    after: dict[str, Estimate]


def judge_runs(
    run: Path, initial: Path, prompts: Sequence[str], max_new_tokens: int, seed: int
) -> Result:
    """Compare a run's model with the one it started from, at temperature 1.

    Puts the win rate and the parts of the gold reward (`gold`) into the run's evaluation.json, the
    first prompts with both responses and their rewards into samples.jsonl, and writes the report
    and the model card anew.
    """
    before = answer_all(initial, prompts, max_new_tokens, seed)
    after = answer_all(run / "model", prompts, max_new_tokens, seed + 1)
    parts_before, parts_after = _parts(prompts, before), _parts(prompts, after)
    rate = win_rate(parts_after["total"], parts_before["total"], seed=seed)
    result = Result(
        rate.record(against="the policy before DPO", annotator="the gold reward"),
        {name: mean_by_prompt(values) for name, values in parts_before.items()},
        {name: mean_by_prompt(values) for name, values in parts_after.items()},
    )
    rows = sample_side_by_side(
        prompts[:SHOWN], lambda _: before[:SHOWN], lambda _: after[:SHOWN], scorer=taste()
    )
    write_jsonl(run / "samples.jsonl", rows)
    evaluation = json.loads((run / "evaluation.json").read_text("utf-8"))
    evaluation["win_rate"] = result.win_rate
    evaluation["gold"] = {
        when: {name: _record(e) for name, e in means.items()}
        for when, means in (("before", result.before), ("after", result.after))
    }
    write_json(run / "evaluation.json", evaluation)
    write_report(run)
    write_card(run)
    return result


def answer_all(
    model: Path, prompts: Sequence[str], max_new_tokens: int, seed: int
) -> list[Generation]:
    """One sampled response of a model on disk to each prompt."""
    policy = load_policy(str(model))
    renderer = Renderer(policy.tokenizer)
    ids = [renderer.prompt_ids(prompt) for prompt in prompts]
    sampling = SamplingSettings(max_new_tokens=max_new_tokens)
    return answer(policy, renderer, ids, sampling, seed).generations


def table(result: Result) -> str:
    """The result for people: gold reward part by part, length, and the win rate."""
    n = result.win_rate["n"]
    lines = [f"{'mean of ' + str(n) + ' held-out prompts':<32}{'SFT':>8}{'DPO':>8}"]
    for name, what in (
        ("correct", "gold reward: correct"),
        ("concise", "gold reward: concise"),
        ("polite", "gold reward: polite"),
        ("total", "gold reward: total (0 … 2)"),
        ("tokens", "length (tokens)"),
    ):
        places = 1 if name == "tokens" else 2
        before, after = result.before[name].value, result.after[name].value
        lines.append(f"{what:<32}{before:>8.{places}f}{after:>8.{places}f}")
    rate = result.win_rate
    lines.append(
        f"win rate against SFT by gold reward: {rate['value']:.3f} "
        f"[{rate['low']:.3f}, {rate['high']:.3f}] (95 %, n = {n} prompts, {rate['ties']} ties)"
    )
    return "\n".join(lines)


def _parts(prompts: Sequence[str], answers: Sequence[Generation]) -> dict[str, list[float]]:
    rewards = [gold(p, a.text) for p, a in zip(prompts, answers, strict=True)]
    parts = {name: [float(getattr(reward, name)) for reward in rewards] for name in PARTS}
    return parts | {"tokens": [float(a.tokens) for a in answers]}


def _record(estimate: Estimate) -> dict[str, float]:
    return {
        "mean": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "n": estimate.n,
    }
