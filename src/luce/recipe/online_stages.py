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
from luce.files import write_jsonl
from luce.models.engine import Sample, SamplingSettings, generate
from luce.models.policy import CausalPolicy
from luce.online.blocks import Blocks
from luce.online.select import most_unknown
from luce.recipe.online_explore import EXPLORES, Widths
from luce.recipe.online_explore import FILE as COVARIANCE
from luce.recipe.online_prompts import Prompt, read_lines
from luce.recipe.preferred import Opened
from luce.recipe.sampling import token_log_probs
from luce.recipe.schema import Online, Recipe
from luce.types import Branch, Comparison, Group, Place

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
    """

    recipe: Recipe
    number: int
    folder: Path
    prompts: Sequence[Prompt]
    renderer: Renderer
    policy: Callable[[], tuple[CausalPolicy, str]]
    annotator: Callable[[], Opened]

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
        blocks = self.blocks("samples")
        if block not in blocks.missing():
            return blocks.rows_of(block)
        size = self.online.block
        return read_lines(self.folder / "samples.jsonl")[block * size : (block + 1) * size]

    def release(self) -> None:
        """Let go of the models."""
        self.__dict__.pop("loaded", None)
        self.__dict__.pop("opened", None)
        self.__dict__.pop("widths", None)

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
    def loaded(self) -> tuple[CausalPolicy, str]:
        return self.policy()


def temperatures(online: Online) -> list[float]:
    """The temperature of each of the n samples: of a list the first for the first, then again."""
    given = online.temperature
    each = [float(given)] if isinstance(given, int | float) else [float(t) for t in given]
    return [each[j % len(each)] for j in range(online.n)]


def sample_block(stage: Stage, block: int) -> list[dict[str, Any]]:
    """n samples of every prompt of a block: one row a prompt. They follow from the policy, the
    seed, the round and the block alone."""
    (policy, version), prompts = stage.loaded, stage.part(block)
    each = temperatures(stage.online)
    drawn: list[list[tuple[int, Sample]]] = [[] for _ in prompts]
    for temperature in dict.fromkeys(each):
        places = [j for j, t in enumerate(each) if t == temperature]
        settings = SamplingSettings(
            temperature=temperature,
            top_p=stage.online.top_p,
            max_new_tokens=stage.online.max_new_tokens,
        )
        found = generate(
            policy,
            [p.ids for p in prompts],
            len(places),
            settings,
            seed=seed_of(stage.recipe.train.seed, stage.number, block, places[0]),
            stop_ids=(stage.renderer.terminator,),
        )
        for row, samples in zip(drawn, found, strict=True):
            row += zip(places, samples, strict=True)
    return [
        {
            "prompt": prompt.number,
            "policy": version,
            "samples": [
                {
                    "text": stage.renderer.response_text(s.ids),
                    "ids": list(s.ids),
                    "log_probs": [round(x, 6) for x in s.log_probs],
                    "ended": s.ended,
                    "temperature": each[j],
                }
                for j, s in sorted(row, key=lambda pair: pair[0])
            ],
        }
        for prompt, row in zip(prompts, drawn, strict=True)
    ]


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
    found = _judged(stage, block, prompts, texts)
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
    stage: Stage, block: int, prompts: Sequence[Any], texts: Sequence[Sequence[str]]
) -> list[dict[str, Any]]:
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
        if online.select == "random_pair" and pairs:
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
    token, on the first samples of the round.

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
    groups, said = [], []
    by_number = {p.number: p for p in stage.prompts}
    for row in rows:
        for sample in row["samples"]:
            if len(groups) < GAP_SAMPLES:
                ids = np.asarray(sample["ids"], dtype=np.int32)
                prompt = np.asarray(by_number[row["prompt"]].ids, dtype=np.int32)
                place = Place("samples", row["prompt"] + 1)
                branch = Branch(ids, np.ones(len(ids), dtype=bool))
                groups.append(Group(prompt, (branch,), f"gap-{len(groups)}", place))
                said.append(sample["log_probs"])
    found = token_log_probs(policy, groups, stage.recipe.train.max_tokens_per_batch)
    apart = [
        abs(a - b) for x, y in zip(said, found, strict=True) for a, b in zip(x, y, strict=True)
    ]
    return {"mean": sum(apart) / len(apart), "max": max(apart), "tokens": len(apart)}


def run_stage(
    stage: Stage, name: str, make: Callable[[Stage, int], list[dict[str, Any]]], **options: Any
) -> Path:
    """Do a stage's missing blocks, and write its file out of all of them; returns the file."""
    path = stage.folder / f"{name}.jsonl"
    if not path.exists():
        blocks = stage.blocks(name)
        blocks.work(lambda block: make(stage, block), **options)
        write_jsonl(path, blocks.rows())
    return path


def seed_of(*parts: int) -> int:
    """A seed of its own for these numbers."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:7])


def rng_of(stage: Stage, *parts: int) -> np.random.Generator:
    return np.random.default_rng((stage.recipe.train.seed, stage.number, *parts))
