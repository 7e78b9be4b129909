"""How the cost of luce's step grows: with shared prompts, responses, vocabulary and pairs."""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import corpora, flops, memory, shapes
from benchmarks.corpora import words_tokenizer
from benchmarks.luce_side import LuceSide
from benchmarks.shapes import Shape
from luce.data.pack import pack
from luce.models.policy import CausalPolicy
from luce.models.products import quick_products
from luce.types import Branch, Group, Place

POINTS = ((32, 256), (128, 128), (256, 64), (512, 64), (1024, 128), (1024, 32))
"""Tokens of a prompt and of each response."""

VOCABULARIES = (8_000, 16_384, 32_000, 65_536, 131_072)
MICRO_BATCH = 2048
"""Tokens of a micro-batch where memory should not grow with the pairs of a step."""


def group(prompt: int, responses: Sequence[int], vocabulary: int, seed: int) -> Group:
    """Random ids of these lengths."""
    draw = np.random.default_rng(seed)

    def ids(count: int) -> np.ndarray:
        return draw.integers(1, vocabulary, count).astype(np.int32)

    branches = tuple(Branch(ids(r), np.ones(r, dtype=bool)) for r in responses)
    return Group(ids(prompt), branches, f"group-{seed}", Place("benchmarks", seed + 1))


def separate(groups: Sequence[Group]) -> list[Group]:
    """Each response with a prompt of its own."""
    return [Group(g.prompt, (b,), g.id, g.place) for g in groups for b in g.branches]


def lengths(groups: Sequence[Group]) -> list[tuple[int, list[int]]]:
    """Tokens of each prompt and of its responses."""
    return [(len(g.prompt), [len(b) for b in g.branches]) for g in groups]


def policy(shape: Shape, layout: str = "auto") -> CausalPolicy:
    """A policy of this shape, all weights trainable."""
    module = shapes.policy_model(shapes.reference_model(shape))
    return CausalPolicy(module, words_tokenizer(), shape.name, layout=layout)


def pass_over(model: CausalPolicy, groups: Sequence[Group]) -> None:
    """Log-probabilities of all responses in one row, and their gradients."""
    model.module.zero_grad(set_to_none=True)
    with quick_products():
        model.log_probs(pack(groups)).sum().backward()


def seconds(work: Sequence[Callable[[], None]], rounds: int) -> list[list[float]]:
    """CPU seconds of each piece of work, taken in turn; the first pass is not counted."""
    found: list[list[float]] = [[] for _ in work]
    for number in range(rounds + 1):
        for times, one in zip(found, work, strict=True):
            start = time.process_time()
            one()
            if number:
                times.append(time.process_time() - start)
    return found


def sharing(shape: Shape, rounds: int, told: Callable[[str], None] = print) -> dict[str, Any]:
    """Time of packed rows with prompts repeated over that of rows with prompts shared.

    Repeated two ways: the same attention, one response to a prompt; and the `packed` layout, with
    transformers' own attention.
    """
    shared, packed = policy(shape), policy(shape, "packed")
    rows = []
    for prompt, response in POINTS:
        for n in (2, 4, 8):
            count = max(1, 1024 // (prompt + n * response))
            groups = [group(prompt, [response] * n, shape.vocabulary, i) for i in range(count)]
            apart = separate(groups)
            times = seconds(
                [
                    lambda: pass_over(shared, groups),  # noqa: B023
                    lambda: pass_over(shared, apart),  # noqa: B023
                    lambda: pass_over(packed, apart),  # noqa: B023
                ],
                rounds,
            )
            computed = flops.needed(shape, lengths(apart)) / flops.needed(shape, lengths(groups))
            best = [min(t) for t in times]
            rows.append(
                {
                    "prompt": prompt,
                    "response": response,
                    "n": n,
                    "computed": computed,
                    "measured": best[1] / best[0],
                    "packed_layout": best[2] / best[0],
                }
            )
            told(f"P {prompt}, R {response}, n {n}: {computed:.2f}, {best[1] / best[0]:.2f}")
    return {"kind": "sharing", "shape": shape.name, "rounds": rounds, "rows": rows}


def responses(shape: Shape, rounds: int, prompt: int = 256, response: int = 64) -> dict[str, Any]:
    """Time of a prompt with n responses, against n = 1."""
    model = policy(shape)
    counts = (1, 2, 4, 8, 16)
    groups = {
        n: [group(prompt, [response] * n, shape.vocabulary, i) for i in range(4)] for n in counts
    }
    times = seconds([lambda g=g: pass_over(model, g) for g in groups.values()], rounds)
    rows = []
    for n, found in zip(counts, times, strict=True):
        needed = flops.needed(shape, lengths(groups[n]))
        rows.append(
            {
                "n": n,
                "tokens": sum(p + sum(r - 1 for r in rs) for p, rs in lengths(groups[n])) / 4,
                "seconds": statistics.median(found) / 4,
                "needed": needed / flops.needed(shape, lengths(groups[1])),
                "measured": statistics.median(found) / statistics.median(times[0]),
                "rate": needed / statistics.median(found),
            }
        )
    return {
        "kind": "responses",
        "shape": shape.name,
        "prompt": prompt,
        "response": response,
        "rounds": rounds,
        "rows": rows,
    }


def vocabulary(rounds: int, pairs: int = 4) -> dict[str, Any]:
    """Time of one step of HH pairs under the body of q05ratio, for heads of growing size."""
    base = shapes.SHAPES["q05ratio"]
    rows = []
    batch = corpora.batches(corpora.load("hh", VOCABULARIES[0]), pairs, 3)[1]
    groups = [corpora.as_group(pair, i) for i, pair in enumerate(batch)]
    for size in VOCABULARIES:
        shape = Shape(f"V {size}", size, *(base.hidden, base.layers, base.heads), 2, base.inner)
        model = policy(shape)
        (found,) = seconds([lambda: pass_over(model, groups)], rounds)  # noqa: B023
        needed = flops.needed(shape, lengths(groups))
        middle = statistics.median(found)
        rows.append({"vocabulary": size, "seconds": middle, "rate": needed / middle})
    return {"kind": "vocabulary", "pairs": pairs, "rounds": rounds, "rows": rows}


def pairs_of_a_step(shape: Shape, rounds: int) -> dict[str, Any]:
    """Time and memory of the trainer's step with more and more HH pairs in it; `rounds` 0: memory
    alone, which is measured in a process of its own."""
    counts = (16, 32, 64, 128)
    found = corpora.load("hh", shape.vocabulary)[: counts[-1]]
    reference = shapes.reference_model(shape)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        side = LuceSide(shapes.policy_model(reference), reference, Path(folder), budget=MICRO_BATCH)
        side.precompute(found)
        for count in counts:
            batch = found[:count]
            side.prepare(batch)
            row: dict[str, float] = {"pairs": count, "tokens": sum(p.shared for p in batch)}
            if rounds:
                (times,) = seconds([lambda: _drop(side.step(batch))], rounds)  # noqa: B023
                row["seconds"] = statistics.median(times)
            else:
                side.step(batch)
                side.policy.module.zero_grad(set_to_none=True)
                above = memory.growth(lambda: side.step(batch))  # noqa: B023
                row["step_bytes"] = above - memory.gradient_bytes(side.policy.module)
            rows.append(row)
        side.close()
    return {
        "kind": "pairs",
        "shape": shape.name,
        "budget": MICRO_BATCH,
        "rounds": rounds,
        "rows": rows,
    }


def _drop(_: float) -> None:
    """Only the time is asked for."""


def run(name: str, rounds: int) -> dict[str, Any]:
    """One table by its name; JSON-able."""
    shape = shapes.SHAPES["q05ratio"]
    tables: dict[str, Callable[[], dict[str, Any]]] = {
        "sharing": lambda: sharing(shape, rounds),
        "responses": lambda: responses(shape, rounds),
        "vocabulary": lambda: vocabulary(rounds),
        "pairs": lambda: pairs_of_a_step(shape, rounds),
    }
    return tables[name]()
