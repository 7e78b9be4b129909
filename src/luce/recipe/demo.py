"""`luce demo`: the main job on a built-in world, from nothing to an aligned model with a report.

    demonstrations → new model → SFT → samples in pairs → a simulated annotator judges them → DPO
    → held-out prompts, graded by the world's gold reward

Every stage leaves what it made in the folder: data files, two recipes, two runs. The recipes can be
edited and run again with `luce train`.
"""

import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console

from luce.annotate import draw, luce_choice
from luce.data.template import Renderer
from luce.data.worlds.tasks import Habits, Tasks, demonstrate, taste
from luce.errors import LuceError
from luce.files import write_atomic, write_jsonl
from luce.models.engine import Sample, SamplingSettings, generate
from luce.models.policy import load_policy
from luce.models.tiny import Shape, new_model_folder
from luce.recipe.demo_result import judge_runs, table
from luce.recipe.run import train_run
from luce.types import Comparison


@dataclass(frozen=True)
class Plan:
    """How much of everything the demo does.

    Attributes:
        demonstrations: rows of SFT, one epoch.
        preference_prompts, samples: prompts that are answered, answers to each (an even number:
            they are judged two by two).
        held_out_prompts: for the evaluation.
        vocab_size, shape: of the new model.
        habits: of the demonstrator that SFT imitates.
        temperature: of the annotator, in units of gold reward.
        max_new_tokens: of a sampled response.
        sft, dpo: the recipes' `train` sections.
        beta: of DPO.
    """

    demonstrations: int
    preference_prompts: int
    held_out_prompts: int
    shape: Shape
    sft: Mapping[str, Any]
    dpo: Mapping[str, Any]
    samples: int = 4
    vocab_size: int = 1024
    habits: Habits = Habits()
    temperature: float = 0.1
    max_new_tokens: int = 48
    beta: float = 0.3


_SHAPE = Shape(hidden=136, layers=4, heads=4, max_positions=256)
_SFT = {"learning_rate": 2e-3, "batch_size": 32, "warmup_ratio": 0.05, "adam_beta2": 0.95}
_DPO = {"learning_rate": 2e-4, "batch_size": 32, "warmup_ratio": 0.1, "eval_steps": 40}
FULL = Plan(
    demonstrations=40_000,
    preference_prompts=4_000,
    held_out_prompts=500,
    shape=_SHAPE,
    sft=_SFT | {"logging_steps": 50},
    dpo=_DPO,
)
QUICK = Plan(
    demonstrations=1_500,
    preference_prompts=100,
    held_out_prompts=40,
    shape=Shape(hidden=32, layers=2, heads=2, max_positions=256),
    sft=_SFT | {"logging_steps": 10},
    dpo=_DPO | {"batch_size": 16},
)


def run_demo(
    output_dir: Path | str,
    seed: int = 0,
    quick: bool = False,
    report: Callable[[str], object] = print,
) -> Path:
    """Carry out the demo in an empty folder; returns the folder of its DPO run.

    The folder then holds `data/` (demonstrations, pairs), `new-model/`, `sft.yaml` and `dpo.yaml`,
    and the runs `sft/` and `dpo/`; `dpo/report.html` tells the result and `dpo/evaluation.json`
    has the win rate against the SFT policy with its interval and n. The same seed on the same
    machine gives the same numbers.

    Raises:
        LuceError: the folder holds something.
    """
    plan, out = QUICK if quick else FULL, Path(output_dir)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise LuceError(
            f"{out}: exists and is not an empty folder. Remove it, or set another --output-dir."
        )
    with _one_thread():
        return _carry_out(plan, out, seed, report)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Products this small gain little from a second thread, and where other programs keep the
    cores busy the threads wait for each other many times longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _carry_out(plan: Plan, out: Path, seed: int, report: Callable[[str], object]) -> Path:
    stages = _Stages(report)
    world = Tasks(seed)
    prompts = world.prompts(plan.demonstrations + plan.preference_prompts)
    shown, asked = prompts[: plan.demonstrations], prompts[plan.demonstrations :]
    texts = demonstrate(shown, plan.habits, seed)
    rows = [{"prompt": p, "completion": r} for p, r in zip(shown, texts, strict=True)]
    write_jsonl(out / "data" / "demonstrations.jsonl", rows)
    stages.done(f"{len(rows)} imperfect demonstrations of the world `tasks`")

    corpus = (f"Human: {row['prompt']}\n\nAssistant: {row['completion']}" for row in rows)
    model = new_model_folder(
        out / "new-model", corpus, vocab_size=plan.vocab_size, shape=plan.shape, seed=seed
    )
    stages.done(f"a new model of {model.num_parameters() / 1e6:.1f} M parameters")

    _train(_write_recipe(out, "sft", plan, seed))
    stages.done("SFT: the policy that imitates them, and the start of what follows")

    pairs = _judged_pairs(out / "sft" / "model", asked, plan, seed)
    write_jsonl(out / "data" / "pairs.jsonl", pairs)
    stages.done(f"{len(pairs)} pairs of its own samples, judged by a simulated annotator")

    run = _train(_write_recipe(out, "dpo", plan, seed))
    stages.done("DPO on the pairs")

    held_out = world.prompts(plan.held_out_prompts, split="heldout")
    result = judge_runs(run, out / "sft" / "model", held_out, plan.max_new_tokens, seed)
    stages.done(f"graded on {len(held_out)} held-out prompts by the gold reward")
    report(table(result))
    report(f"report: {run / 'report.html'}")
    again = [str(out / "dpo.yaml"), f"output_dir={out / 'dpo-again'}"]
    report(f"again:  luce train {shlex.join(again)}")
    return run


class _Stages:
    """Tells what is done, and how long it took."""

    def __init__(self, report: Callable[[str], object]) -> None:
        self.report, self.start, self.last = report, time.monotonic(), time.monotonic()

    def done(self, what: str) -> None:
        now = time.monotonic()
        self.report(f"[{now - self.start:4.0f} s, +{now - self.last:3.0f} s] {what}")
        self.last = now


def _train(recipe: Path) -> Path:
    return train_run(recipe, console=Console(stderr=True, highlight=False, soft_wrap=True))


def _write_recipe(out: Path, stage: str, plan: Plan, seed: int) -> Path:
    """`sft.yaml` or `dpo.yaml`, as `luce train` reads it."""
    sft = stage == "sft"
    recipe = {
        "name": f"demo-{stage}",
        "output_dir": str(out / stage),
        "model": str(out / ("new-model" if sft else "sft/model")),
        "data": {
            "path": str(out / "data" / ("demonstrations.jsonl" if sft else "pairs.jsonl")),
            "eval": 0.01 if sft else 0.1,
            "max_length": plan.shape.max_positions,
        },
        "objective": "sft" if sft else {"dpo": {"beta": plan.beta}},
        "reference": "none" if sft else "initial",
        "train": dict(plan.sft if sft else plan.dpo) | {"seed": seed},
        "evaluate": {"max_new_tokens": plan.max_new_tokens},
    }
    path = out / f"{stage}.yaml"
    write_atomic(path, yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True))
    return path


def _judged_pairs(model: Path, prompts: list[str], plan: Plan, seed: int) -> list[dict[str, Any]]:
    """Rows of pairs.jsonl: the policy's samples two by two, the annotator's choice first."""
    policy = load_policy(str(model))
    renderer = Renderer(policy.tokenizer)
    samples = generate(
        policy,
        [renderer.prompt_ids(prompt) for prompt in prompts],
        plan.samples,
        SamplingSettings(max_new_tokens=plan.max_new_tokens),
        seed=seed,
        stop_ids=(renderer.terminator,),
    )
    comparisons = [
        Comparison(prompt, a, b)
        for prompt, drawn in zip(prompts, samples, strict=True)
        for a, b in _different_pairs(renderer, drawn)
    ]
    annotator = luce_choice(taste(), plan.temperature)
    labels = draw(annotator, comparisons, seed)
    judged = [c if a_wins else c.swap() for c, a_wins in zip(comparisons, labels, strict=True)]
    return [{"prompt": c.prompt, "chosen": c.a, "rejected": c.b} for c in judged]


def _different_pairs(renderer: Renderer, drawn: list[Sample]) -> list[tuple[str, str]]:
    """Samples two by two; those that were cut or empty, and equal ones, make no pair."""
    texts = [renderer.response_text(s.ids).strip() for s in drawn if s.ended]
    different = [text for text in dict.fromkeys(texts) if text]
    return list(zip(different[::2], different[1::2], strict=False))
