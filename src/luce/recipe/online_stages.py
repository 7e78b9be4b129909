"""The stages of a round whose work is shared: sample and judge. Each leaves files, in blocks that
several processes may do, and a stage whose file is there is not done again."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from luce.annotate import opinions
from luce.data.template import Renderer
from luce.errors import LuceError
from luce.files import read_jsonl, write_jsonl
from luce.models.engine import SamplingSettings
from luce.models.engines import Engine, LocalEngine, Stamped, Weights
from luce.models.policy import CausalPolicy
from luce.online.blocks import Blocks
from luce.online.select import most_unknown
from luce.recipe.online_engine import importance_weights, open_server, sample_groups
from luce.recipe.online_explore import EXPLORES, Widths
from luce.recipe.online_explore import FILE as COVARIANCE
from luce.recipe.online_prompts import Prompt
from luce.recipe.preferred import Opened
from luce.recipe.sampling import token_log_probs
from luce.recipe.schema import Online, Recipe
from luce.types import Comparison

GAP_SAMPLES = 64
"""Samples of a round on which the sampler's log-probabilities are compared with the trainer's."""


@dataclass
class Stage:
    """What the stages of one round share.

    Attributes:
        number: of the round, from 1.
        folder: of the round.
        prompts: of the round.
        policy: loads the policy of the round's beginning, with the hash of its weights.
        annotator: loads who judges.
        weights: where that policy lies, for a server that samples.
        tell: told what is waited for.
        rival: makes the opponent out of the policy; None where there is none.
    """

    recipe: Recipe
    number: int
    folder: Path
    prompts: Sequence[Prompt]
    renderer: Renderer
    policy: Callable[[], tuple[CausalPolicy, str]]
    annotator: Callable[[], Opened]
    weights: Callable[[], Weights]
    tell: Callable[[str], None]
    rival: Callable[[CausalPolicy], CausalPolicy] | None = None

    @property
    def online(self) -> Online:
        assert self.recipe.online is not None
        return self.recipe.online

    def blocks(self, name: str) -> Blocks:
        """The blocks of a stage of this round."""
        count = -(-len(self.prompts) // self.online.block)
        return Blocks(self.folder / name, count)

    def part(self, block: int) -> Sequence[Prompt]:
        """The prompts of a block."""
        size = self.online.block
        return self.prompts[block * size : (block + 1) * size]

    def samples_of(self, block: int) -> list[dict[str, Any]]:
        """The samples of a block: of its own file, or once that is tidied away out of the whole."""
        blocks, size = self.blocks("samples"), self.online.block
        try:
            return blocks.rows_of(block)
        except FileNotFoundError:
            return read_jsonl(blocks.whole)[block * size : (block + 1) * size]

    def release(self) -> None:
        """Let go of the models."""
        self.__dict__.pop("loaded", None)
        self.__dict__.pop("engine", None)
        self.__dict__.pop("opened", None)
        self.__dict__.pop("widths", None)
        self.__dict__.pop("rival_loaded", None)

    @cached_property
    def opened(self) -> Opened:
        return self.annotator()

    @property
    def covariances(self) -> tuple[Path, Path]:
        """Where what was compared is kept, before this round and after it."""
        before = self.folder.parent / f"{self.number - 1:03d}"
        return before / COVARIANCE, self.folder / COVARIANCE

    @cached_property
    def widths(self) -> Widths:
        return Widths(self.online, self.covariances[0])

    @cached_property
    def rival_loaded(self) -> CausalPolicy:
        assert self.rival is not None  # rivals_of says when
        return self.rival(self.loaded[0])

    @cached_property
    def engine(self) -> Engine:
        """What samples: the policy here, or a server that has its weights."""
        if self.online.engine.kind == "transformers":
            return LocalEngine(*self.loaded)
        return open_server(self.online, self.weights(), self.tell)

    @cached_property
    def loaded(self) -> tuple[CausalPolicy, str]:
        return self.policy()


def temperatures(online: Online) -> list[float]:
    """The temperature of each of the n samples: of a list the first for the first, then again."""
    given = online.temperature
    each = [float(given)] if isinstance(given, int | float) else [float(t) for t in given]
    return [each[j % len(each)] for j in range(online.n)]


def rivals_of(online: Online) -> list[bool]:
    """Which of the n samples are the opponent's: the latter half, where there is one."""
    from_opponent = 0 if online.opponent is None else online.n // 2
    return [j >= online.n - from_opponent for j in range(online.n)]


def sample_block(stage: Stage, block: int) -> list[dict[str, Any]]:
    """n samples of every prompt of a block: one row a prompt. They follow from the policy, the
    seed, the round and the block alone."""
    engine, prompts = stage.engine, stage.part(block)
    each = temperatures(stage.online)
    drawn: list[list[tuple[int, Stamped]]] = [[] for _ in prompts]
    rivals = rivals_of(stage.online)
    for temperature, rival in dict.fromkeys(zip(each, rivals, strict=True)):
        places = [j for j in range(len(each)) if (each[j], rivals[j]) == (temperature, rival)]
        settings = SamplingSettings(
            temperature=temperature,
            top_p=stage.online.top_p,
            max_new_tokens=stage.online.max_new_tokens,
        )
        drawing = LocalEngine(stage.rival_loaded, engine.version) if rival else engine
        found = drawing.generate(
            [p.ids for p in prompts],
            len(places),
            settings,
            seed=seed_of(stage.recipe.train.seed, stage.number, block, places[0]),
            stop_ids=(stage.renderer.terminator,),
        )
        for row, samples in zip(drawn, found, strict=True):
            row += zip(places, samples, strict=True)
    rows = [
        {
            "prompt": prompt.number,
            "policy": engine.version,
            "samples": [
                {
                    "text": stage.renderer.response_text(s.sample.ids),
                    "ids": list(s.sample.ids),
                    "log_probs": [round(x, 6) for x in s.sample.log_probs],
                    "ended": s.sample.ended,
                    "temperature": each[j],
                }
                | ({"of": "opponent"} if rivals[j] else {})
                | ({} if s.version == engine.version else {"policy": s.version})
                for j, s in sorted(row, key=lambda pair: pair[0])
            ],
        }
        for prompt, row in zip(prompts, drawn, strict=True)
    ]
    _weigh(stage, prompts, rows)
    return rows


def _weigh(stage: Stage, prompts: Sequence[Prompt], rows: Sequence[Mapping[str, Any]]) -> None:
    """Give the samples that other weights drew their importance weights."""
    stale = [
        (prompt.ids, sample)
        for prompt, row in zip(prompts, rows, strict=True)
        for sample in row["samples"]
        if "policy" in sample
    ]
    if stale:
        found = importance_weights(
            stage.loaded[0],
            [(ids, sample["ids"], sample["log_probs"]) for ids, sample in stale],
            stage.recipe.train.max_tokens_per_batch,
            stage.online.engine.max_weight,
        )
        for (_, sample), weight in zip(stale, found, strict=True):
            sample["weight"] = weight


def judge_block(stage: Stage, block: int) -> list[dict[str, Any]]:
    """Rewards of the samples of a block, or who beats whom: one row a prompt. Equal texts are
    judged once, and what is not judged is counted by reason."""
    rows = stage.samples_of(block)
    kept = [_kept(row["samples"], stage.online) for row in rows]
    texts = [
        [row["samples"][j]["text"] for j in places]
        for row, (places, _) in zip(rows, kept, strict=True)
    ]
    prompts = [p.text for p in stage.part(block)]
    rivals = [
        ["of" in row["samples"][j] for j in places]
        for row, (places, _) in zip(rows, kept, strict=True)
    ]
    found = _judged(stage, block, prompts, texts, rivals)
    return [
        {"prompt": row["prompt"], "kept": places, "left_out": left_out} | judged
        for row, (places, left_out), judged in zip(rows, kept, found, strict=True)
    ]


def _kept(samples: Sequence[Mapping[str, Any]], online: Online) -> tuple[list[int], dict[str, int]]:
    """The numbers of the samples that are judged, and how many are not, by reason."""
    places: list[int] = []
    seen: set[str] = set()
    left_out: dict[str, int] = {}
    for j, sample in enumerate(samples):
        reason = None
        if not sample["text"].strip():
            reason = "empty"
        elif sample["text"] in seen:
            reason = "repeated"
        elif online.unended == "drop" and not sample["ended"]:
            reason = "unended"
        if reason is None:
            seen.add(sample["text"])
            places.append(j)
        else:
            left_out[reason] = left_out.get(reason, 0) + 1
    return places, left_out


def _judged(
    stage: Stage,
    block: int,
    prompts: Sequence[Any],
    texts: Sequence[Sequence[str]],
    rivals: Sequence[Sequence[bool]],
) -> list[dict[str, Any]]:
    """`rivals` says which of the texts are the opponent's."""
    opened, online = stage.opened, stage.online
    widths: list[list[float]] | None = None
    if online.select in EXPLORES:
        widths = stage.widths.of(list(zip(prompts, texts, strict=True)))
    if opened.grade is not None:
        rewards = opened.grade(list(zip(prompts, texts, strict=True)))
        rows: list[dict[str, Any]] = [{"rewards": list(map(float, r))} for r in rewards]
        if stage.online.select == "widest" and opened.members is not None:
            members = opened.members(list(zip(prompts, texts, strict=True)))
            rows = [r | {"members": m} for r, m in zip(rows, members, strict=True)]
        if widths is not None:
            rows = [r | {"widths": w} for r, w in zip(rows, widths, strict=True)]
        return rows
    # one pair is asked where one is taken at random, or to explore; all where the best is sought
    asked: list[tuple[int, int, int]] = []
    for k, responses in enumerate(texts):
        n = len(responses)
        pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
        if online.select == "across":
            pairs = [(i, j) for i, j in pairs if rivals[k][i] != rivals[k][j]]
        if online.select in ("random_pair", "across") and pairs:
            pairs = [pairs[int(rng_of(stage, block, k, 1).integers(len(pairs)))]]
        elif online.select == "enhancer" and widths is not None and pairs:
            pairs = [(0, most_unknown(np.asarray(widths[k])))]
        asked += [(k, i, j) for i, j in pairs]
    comparisons = [Comparison(prompts[k], texts[k][i], texts[k][j]) for k, i, j in asked]
    beats: list[list[list[float | None]]] = [
        [[None] * len(r) for _ in r] for r in texts
    ]  # fmt: skip
    for (k, i, j), p in zip(asked, opinions(opened.annotator, comparisons), strict=True):
        beats[k][i][j], beats[k][j][i] = p, 1 - p
    rows = [{"beats": b, "rewards": _borda(b)} for b in beats]
    if widths is not None:
        rows = [r | {"widths": w} for r, w in zip(rows, widths, strict=True)]
    return rows


def _borda(beats: Sequence[Sequence[float | None]]) -> list[float]:
    """The mean probability of beating those that it was compared with; ½ where with none."""
    found = []
    for row in beats:
        known = [p for p in row if p is not None]
        found.append(sum(known) / len(known) if known else 0.5)
    return found


def sampler_gap(stage: Stage, rows: Sequence[Mapping[str, Any]]) -> dict[str, float | int]:
    """How far the sampler's token log-probabilities are from those that training computes, nats a
    token, on the first samples of the round; and how many samples of the round are stale, where
    there are any.

    Raises:
        LuceError: the samples are another policy's.
    """
    policy, version = stage.loaded
    strange = next((row for row in rows if row["policy"] != version), None)
    if strange is not None:
        raise LuceError(
            f"{stage.folder / 'samples.jsonl'}: prompt {strange['prompt']} was sampled from the "
            f"policy {strange['policy'][:12]}, and this round's is {version[:12]}. Delete the "
            "round's folder, and it is sampled again."
        )
    taken, said = [], []
    by_number = {p.number: p for p in stage.prompts}
    for row in rows:
        for sample in row["samples"]:
            if len(taken) < GAP_SAMPLES and "of" not in sample:
                taken.append((by_number[row["prompt"]].ids, sample["ids"]))
                said.append(sample["log_probs"])
    found = token_log_probs(policy, sample_groups(taken), stage.recipe.train.max_tokens_per_batch)
    apart = [
        abs(a - b) for x, y in zip(said, found, strict=True) for a, b in zip(x, y, strict=True)
    ]
    gap = {"mean": sum(apart) / len(apart), "max": max(apart), "tokens": len(apart)}
    stale = sum("policy" in sample for row in rows for sample in row["samples"])
    return gap | ({"stale": stale} if stale else {})


def run_stage(
    stage: Stage, name: str, make: Callable[[Stage, int], list[dict[str, Any]]], **options: Any
) -> Path:
    """Do a stage's missing blocks, and write its file out of all of them; returns the file."""
    blocks = stage.blocks(name)
    path = blocks.whole
    if not path.exists():
        if stage.online.scale == "ray":
            from luce.recipe.online_ray import ray_blocks  # which opens a run, and so imports this

            ray_blocks(stage.recipe, stage.number, name, blocks, options.get("progress"))
        blocks.work(lambda block: make(stage, block), **options)
        write_jsonl(path, blocks.rows())
    return path


def seed_of(*parts: int) -> int:
    """A seed of its own for these numbers."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:7])


def rng_of(stage: Stage, *parts: int) -> np.random.Generator:
    return np.random.default_rng((stage.recipe.train.seed, stage.number, *parts))
