"""Pairs of token ids: published judgements where they are at hand, else lengths like theirs.

LUCE_DATA names the folder with `hh_harmless_raw.jsonl.gz` and `alpaca_eval2_pairs.jsonl.gz`.
"""

import gzip
import hashlib
import json
import math
import os
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from luce.types import Branch, Group, Place

MAX_LENGTH = 1024
"""Tokens of prompt and response, as TRL's default; what is longer loses its end."""

END, END_TEXT = 0, "<|endoftext|>"
"""What ends a response; the text is that of Qwen2's tokenizer."""

FILES = {"hh": "hh_harmless_raw.jsonl.gz", "alpaca": "alpaca_eval2_pairs.jsonl.gz"}
LENGTHS = {"hh": ((95, 0.75), (30, 0.8), (38, 0.8)), "alpaca": ((30, 0.85), (300, 0.5), (295, 0.5))}
"""Median and log-standard deviation of the lengths of prompt, chosen and rejected, in tokens."""


@dataclass(frozen=True)
class Pair:
    """A prompt and two responses as token ids; each response ends with END unless truncated."""

    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]

    @property
    def width(self) -> int:
        """Tokens of the prompt with its longer response."""
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))

    @property
    def shared(self) -> int:
        """Input tokens when the prompt is read once and last tokens are targets only."""
        return len(self.prompt) + len(self.chosen) + len(self.rejected) - 2

    @property
    def scored(self) -> int:
        return len(self.chosen) + len(self.rejected)


def data_folder() -> Path | None:
    """The folder with the published pairs, if there is one."""
    named = os.environ.get("LUCE_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    return folder if all((folder / name).exists() for name in FILES.values()) else None


def source(name: str) -> str:
    """Where the pairs come from, for the reader of a table."""
    return FILES[name] if data_folder() else f"synthetic lengths of {FILES[name]}"


def texts(name: str, folder: Path) -> Iterator[tuple[str, str, str]]:
    """Prompt, chosen and rejected of each row."""
    with gzip.open(folder / FILES[name], "rt", encoding="utf-8") as rows:
        for row in map(json.loads, rows):
            if name == "alpaca":
                better, worse = ("2", "1") if row["preference"] > 1.5 else ("1", "2")
                yield row["instruction"], row[f"output_{better}"], row[f"output_{worse}"]
                continue
            cut = "\n\nAssistant:"
            (prompt, chosen), (other, rejected) = (
                row[side].rsplit(cut, 1) for side in ("chosen", "rejected")
            )
            if prompt == other:
                yield prompt + cut, chosen, rejected


def tokenizer(folder: Path | None, size: int = 32_000) -> Tokenizer:
    """A byte-level BPE trained on the texts of this folder, or on synthetic ones; kept in a cache
    folder among the temporary files."""
    files = FILES.values() if folder else ()
    state = "".join(f"{name} {(folder / name).stat().st_size};" for name in files if folder)
    digest = hashlib.sha256(f"{state} {size} {END_TEXT}".encode()).hexdigest()[:16]
    cache = Path(tempfile.gettempdir()) / f"luce-benchmarks-{os.getuid()}" / f"bpe-{digest}.json"
    if not cache.exists():
        cache.parent.mkdir(parents=True, exist_ok=True)
        fresh = Tokenizer(models.BPE())
        fresh.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        fresh.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=[END_TEXT],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        rows = chain.from_iterable(shuffled_texts(name, folder, 1 << 30) for name in FILES)
        fresh.train_from_iterator((text for row in rows for text in row), trainer)
        partial = cache.with_suffix(f".{os.getpid()}")
        fresh.save(str(partial))
        partial.replace(cache)
    return Tokenizer.from_file(str(cache))


def words_tokenizer() -> PreTrainedTokenizerFast:
    """Two words, for models whose batches come as ids; id 0 ends a text and pads."""
    words = Tokenizer(models.WordLevel({END_TEXT: END, "a": 1, "b": 2}, unk_token="a"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token=END_TEXT, pad_token=END_TEXT)


def load(name: str, vocabulary: int, seed: int = 0, limit: int = 2400) -> list[Pair]:
    """At most `limit` pairs of a data set, drawn and ordered by the seed, ids folded into the
    vocabulary; without those that have no token of a response left."""
    folder = data_folder()
    rows = synthetic(name) if folder is None else _encoded(name, folder, limit, seed)
    pairs = []
    for parts in rows:
        prompt, chosen, rejected = (tuple(i % vocabulary for i in ids) for ids in parts)
        room = MAX_LENGTH - len(prompt)
        if room > 0 and prompt and chosen and rejected:
            pairs.append(Pair(prompt, (*chosen, END)[:room], (*rejected, END)[:room]))
    return pairs


def _encoded(name: str, folder: Path, limit: int, seed: int) -> Iterator[tuple[list[int], ...]]:
    bpe = tokenizer(folder)
    for row in shuffled_texts(name, folder, limit, seed):
        yield tuple(bpe.encode(text).ids for text in row)


def shuffled_texts(
    name: str, folder: Path | None, limit: int = 2400, seed: int = 0
) -> Iterator[tuple[str, str, str]]:
    """At most `limit` prompts with chosen and rejected, drawn and ordered by the seed; without a
    folder they are made of numbers below 4,000, about one to a token."""
    if folder is None:
        for parts in synthetic(name):
            prompt, chosen, rejected = ("".join(f" {i % 4000}" for i in ids) for ids in parts)
            yield prompt, chosen, rejected
        return
    rows = list(texts(name, folder))
    yield from random.Random(seed).sample(rows, min(limit, len(rows)))


def synthetic(name: str, count: int = 1800, seed: int = 0) -> Iterator[tuple[list[int], ...]]:
    """Random ids; lengths are log-normal with the data set's medians and spreads."""
    draw = random.Random(seed)
    for _ in range(count):
        sizes = [
            max(1, round(draw.lognormvariate(math.log(median), spread)))
            for median, spread in LENGTHS[name]
        ]
        yield tuple([draw.randrange(1, 32_000) for _ in range(size)] for size in sizes)


def batches(pairs: Sequence[Pair], size: int, rounds: int) -> list[list[Pair]]:
    """Of all batches of an epoch in the order of the pairs, one for each round: sorted by how many
    padded tokens there are to one that is needed, those in the middle of equal parts."""
    return _spread([list(pairs[i : i + size]) for i in _starts(pairs, size)], rounds, _padding)


def grouped_batches(pairs: Sequence[Pair], size: int, rounds: int) -> list[list[Pair]]:
    """Batches of like length, as transformers' `group_by_length` makes them: 50 batches' worth of
    pairs, sorted by length and cut. Of those 50, one for each round, chosen by their length."""
    pool = sorted(pairs[: 50 * size], key=lambda pair: -pair.width)
    return _spread([pool[i : i + size] for i in _starts(pool, size)], rounds, _width)


def _starts(pairs: Sequence[Pair], size: int) -> range:
    return range(0, len(pairs) - size + 1, size)


def _width(batch: Sequence[Pair]) -> int:
    return max(pair.width for pair in batch)


def _padding(batch: Sequence[Pair]) -> float:
    return 2 * len(batch) * _width(batch) / sum(pair.shared for pair in batch)


def _spread(
    whole: list[list[Pair]], rounds: int, key: Callable[[Sequence[Pair]], float]
) -> list[list[Pair]]:
    """One batch out of the middle of each of `rounds` equal parts of the sorted batches."""
    if len(whole) < rounds:
        raise SystemExit(f"{len(whole)} batches of pairs are too few for {rounds} rounds.")
    ranked = sorted(whole, key=key)
    return [ranked[int((k + 0.5) * len(whole) / rounds)] for k in range(rounds)]


def as_group(pair: Pair, number: int = 0) -> Group:
    """The pair as luce holds it."""
    ids = [np.array(part, dtype=np.int32) for part in (pair.prompt, pair.chosen, pair.rejected)]
    branches = tuple(Branch(part, np.ones(len(part), dtype=bool)) for part in ids[1:])
    return Group(ids[0], branches, f"pair-{number}", Place("benchmarks", number + 1))


def as_example(pair: Pair) -> dict[str, list[int]]:
    """The pair as TRL holds it after tokenization."""
    return {
        "prompt_ids": list(pair.prompt),
        "chosen_ids": list(pair.chosen),
        "rejected_ids": list(pair.rejected),
    }
