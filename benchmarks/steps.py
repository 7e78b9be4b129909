"""One case: luce and TRL on the same pairs from the same weights, step by step in one process."""

import copy
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, TaskType

from benchmarks import corpora, flops, shapes
from benchmarks.alternate import Timing, Variant, alternate
from benchmarks.cases import (
    GROUPED,
    GROUPED_VARIANTS,
    LUCE,
    LUCE_GROUPED,
    LUCE_VARIANTS,
    MIXED_VARIANTS,
    ONLINE,
    PLAIN,
    Case,
)
from benchmarks.corpora import Pair
from benchmarks.luce_side import LuceSide
from benchmarks.trl_side import TUNED, VARIANTS, TrlSide
from luce.models.load import LoraSettings, add_lora
from luce.models.products import quick_products

RANK, ALPHA = 16, 32


@dataclass(frozen=True)
class Work:
    """What a case runs on: batches as they come, batches of like length, FLOPs and tokens of each.

    Attributes:
        mixed, grouped: one batch for each round.
    """

    mixed: list[list[Pair]]
    grouped: list[list[Pair]]

    def of(self, variant: str) -> list[list[Pair]]:
        """The batches of a variant."""
        return self.grouped if variant in GROUPED_VARIANTS else self.mixed


def work(case: Case, rounds: int, seed: int = 0) -> Work:
    """The batches of a case."""
    pairs = corpora.load(case.data, shapes.SHAPES[case.shape].vocabulary, seed)
    if case.pool:
        pairs = [pair for pair in pairs if pair.width <= case.pool]
    size = case.batch_size
    return Work(corpora.batches(pairs, size, rounds), corpora.grouped_batches(pairs, size, rounds))


@dataclass
class Sides:
    """The models of a case; a side is made where a variant asks for it."""

    case: Case
    folder: Path
    device: str = "cpu"

    def __post_init__(self) -> None:
        shape = shapes.SHAPES[self.case.shape]
        # on a GPU the frozen base of an adapter is kept in bfloat16, as everybody keeps it
        half = self.device == "cuda" and self.case.lora
        dtype = torch.bfloat16 if half else torch.float32
        self._source: Any = shapes.reference_model(shape, self.device, dtype)

    def forget(self) -> None:
        """Drops the weights that the sides were copied from."""
        self._source = None

    def luce(self) -> LuceSide:
        cache, bf16 = self.folder / "cache", self.case.bf16
        if not self.case.lora:
            reference, policy = copy.deepcopy(self._source), shapes.policy_model(self._source)
            return LuceSide(policy, reference, cache, bf16)
        settings = LoraSettings(r=RANK, alpha=ALPHA)
        base = copy.deepcopy(self._source)
        adapted = add_lora(base, settings, TaskType.CAUSAL_LM, 0, "policy")
        shapes.perturb(adapted, shapes.ADAPTER_SCALE, fresh=True)
        return LuceSide(adapted, None, cache, bf16, settings)

    def trl(self) -> TrlSide:
        folder, bf16 = self.folder / "trl", self.case.bf16
        if not self.case.lora:
            reference, policy = copy.deepcopy(self._source), shapes.policy_model(self._source)
            return TrlSide(policy, reference, folder, bf16)
        lora = LoraConfig(
            r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type=TaskType.CAUSAL_LM
        )
        side = TrlSide(copy.deepcopy(self._source), None, folder, bf16, lora)
        shapes.perturb(side.network, shapes.ADAPTER_SCALE, fresh=True)
        return side


def runner(
    variant: str, sides: Sides, cells: dict[str, Any], batches: Sequence[list[Pair]]
) -> Callable[[list[Pair]], float]:
    """The step of a variant, everything that a run does once done."""
    if variant in LUCE_VARIANTS:
        side: LuceSide = cells.setdefault("luce", None) or sides.luce()
        cells["luce"] = side
        online = variant == ONLINE
        if not online:
            side.precompute([pair for batch in batches for pair in batch])
        for batch in batches:
            side.prepare(batch, online)
        return partial(side.step, online=online, quick=variant != PLAIN)
    settings = VARIANTS.get(variant, TUNED)
    trl: TrlSide = cells.setdefault("trl", None) or sides.trl()
    cells["trl"] = trl
    if settings.precomputed:
        trl.precompute([pair for batch in batches for pair in batch])
    return partial(trl.step, settings=settings)


def drop(cells: dict[str, Any]) -> None:
    """Lets go of all gradients: those of one side are not there while the other runs."""
    for module in (cells["luce"].policy.module, cells["trl"].network):
        module.zero_grad(set_to_none=True)


def run(
    case: Case, rounds: int, device: str = "cpu", told: Callable[[str], None] = print
) -> dict[str, Any]:
    """Times of every variant, and what is needed to judge them; JSON-able."""
    found = work(case, rounds)
    with tempfile.TemporaryDirectory() as folder:
        sides, cells = Sides(case, Path(folder), device), {}
        warm = [found.mixed[0][:1], found.grouped[0][:1]]
        groups = {}
        for names in (MIXED_VARIANTS, GROUPED_VARIANTS):
            batches = found.of(names[0])
            extra = warm[0] if names[0] == LUCE else warm[1]
            variants = [
                Variant(n, runner(n, sides, cells, [*batches, extra]), partial(drop, cells))
                for n in names
            ]
            sides.forget()
            for variant in variants:  # what happens once happens before the clock runs
                variant.step(extra)
            groups |= alternate(variants, batches, case.tolerance, device, told)
        trl: TrlSide = cells["trl"]
        dtype = torch.bfloat16 if case.bf16 else torch.float32
        peak = flops.gemm_peak(dtype, device)
        with quick_products():
            quick_peak = flops.gemm_peak(dtype, device)
        padded = [trl.padded_tokens(batch) for batch in found.mixed]
        layout = cells["luce"].policy.layout
        cells["luce"].close()
    return {
        "case": asdict(case),
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "device": device,
        "source": corpora.source(case.data),
        "layout": layout,
        "times": {name: [asdict(t) for t in times] for name, times in groups.items()},
        "useful": {name: useful(case, found.of(name)) for name in (LUCE, GROUPED)},
        "padded_tokens": statistics.mean(padded),
        "gemm_peak": peak,
        "quick_peak": quick_peak,
        "loss_difference": loss_difference(groups),
    }


def useful(case: Case, batches: Sequence[Sequence[Pair]]) -> dict[str, list[float]]:
    """Needed FLOPs, input tokens with the prompt once, and scored tokens of each batch."""
    shape = shapes.SHAPES[case.shape]
    return {
        "flops": [
            flops.needed(
                shape,
                [(len(p.prompt), (len(p.chosen), len(p.rejected))) for p in batch],
                RANK if case.lora else 0,
            )
            for batch in batches
        ],
        "tokens": [sum(p.shared for p in batch) for batch in batches],
        "scored": [sum(p.scored for p in batch) for batch in batches],
    }


def loss_difference(groups: dict[str, list[Timing]]) -> float:
    """The largest distance between luce's loss and another's on the same batch."""
    worst = 0.0
    for name, times in groups.items():
        mine = groups[LUCE_GROUPED if name == GROUPED else LUCE]
        if name != LUCE_GROUPED:
            worst = max([worst, *(abs(a.loss - b.loss) for a, b in zip(times, mine, strict=True))])
    return worst
