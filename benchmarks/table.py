"""Results as Markdown tables."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.alternate import Spread, Timing, ratios
from benchmarks.cases import (
    GROUPED,
    GROUPED_VARIANTS,
    LUCE,
    LUCE_GROUPED,
    LUCE_VARIANTS,
    PLAIN,
)
from benchmarks.end_to_end import training_seconds

DATASHEET = 989e12
"""bfloat16 FLOP/s of an H100 or H200 by its data sheet, dense."""


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table.

    >>> print(markdown(["a", "b"], [["1", "2"]]))
    | a | b |
    |---|---|
    | 1 | 2 |
    """
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def times_as_long(spread: Spread) -> str:
    """
    >>> times_as_long(Spread(8.04, 7.0, 12.3))
    '8.0 (7.0–12.3)'
    """
    digits = 1 if spread.median >= 4 else 2
    return f"{spread.median:.{digits}f} ({spread.low:.{digits}f}–{spread.high:.{digits}f})"


def timings(result: Mapping[str, Any]) -> dict[str, list[Timing]]:
    """The times of each variant, out of JSON."""
    return {name: [Timing(**t) for t in times] for name, times in result["times"].items()}


def step_table(result: Mapping[str, Any], memory: Mapping[str, Mapping[str, Any]]) -> str:
    """One case: a row for each variant, ratios to luce on the same batches."""
    case, times = result["case"], timings(result)
    by_wall = result["threads"] > 1 or result["device"] == "cuda"
    rows = []
    for name, own in times.items():
        base = LUCE_GROUPED if name in GROUPED_VARIANTS else LUCE
        useful = result["useful"][GROUPED if name in GROUPED_VARIANTS else LUCE]
        spent = sum(t.wall_s if by_wall else t.cpu_s for t in own)
        rate = sum(useful["flops"]) / spent
        quick = name in LUCE_VARIANTS and name != PLAIN
        peak = result["quick_peak"] if quick else result["gemm_peak"]
        whole = sum(t.cpu_s for t in own) / sum(t.cpu_s for t in times[base])
        rows.append(
            [
                name,
                f"{statistics.median(t.cpu_s for t in own):.2f}",
                f"{statistics.median(t.wall_s for t in own):.2f}",
                times_as_long(ratios(own, times[base])),
                f"{whole:.2f}",
                times_as_long(ratios(own, times[base], wall=True)),
                _memory(memory, name, base),
                f"{len(own) * case['batch_size'] / spent:.2f}",
                f"{sum(useful['tokens']) / spent:,.0f}",
                f"{rate / 1e9:.1f} ({100 * rate / peak:.0f} %)",
            ]
        )
    head = [
        "variant",
        "CPU s",
        "wall s",
        "× luce, CPU time",
        "all rounds",
        "× luce, wall",
        "step memory MiB (× luce)",
        "pairs/s",
        "tokens/s",
        "useful GFLOP/s (of peak)",
    ]
    return markdown(head, rows)


def _memory(memory: Mapping[str, Mapping[str, Any]], name: str, base: str) -> str:
    if name not in memory:
        return "–"
    size = memory[name]["step_bytes"]
    ratio = f" ({size / memory[base]['step_bytes']:.1f})" if base in memory else ""
    return f"{size / 2**20:,.0f}{ratio}"


def step_section(result: Mapping[str, Any], memory: Mapping[str, Mapping[str, Any]]) -> str:
    """A case with what it takes to read its table."""
    case, useful = result["case"], result["useful"][LUCE]
    needed = statistics.mean(useful["tokens"])
    precision = "bfloat16 autocast" if case["bf16"] else "float32"
    trained = "LoRA of rank 16 on all linear layers" if case["lora"] else "all weights"
    peak = (
        f"GEMM peak in the same process {result['gemm_peak'] / 1e9:,.1f} GFLOP/s, with luce's "
        f"choice of products {result['quick_peak'] / 1e9:,.1f}"
    )
    if result["device"] == "cuda":
        best = sum(useful["flops"]) / sum(t.wall_s for t in timings(result)[LUCE])
        peak += (
            f" (data sheet {DATASHEET / 1e9:,.0f}; luce's model-FLOP utilisation of it "
            f"{100 * best / DATASHEET:.0f} %)"
        )
    lines = [
        f"### {case['name']}, {_threads(result)}",
        "",
        f"{result['source']}, {case['batch_size']} pairs a step, shape {case['shape']}, "
        f"{precision}, {trained}; {result['rounds']} rounds. A batch needs {needed:,.0f} tokens "
        f"({statistics.mean(useful['scored']):,.0f} scored, "
        f"{statistics.mean(useful['flops']) / 1e9:,.0f} GFLOP); TRL runs "
        f"{result['padded_tokens']:,.0f} with padding. {peak}. Losses agree within "
        f"{result['loss_difference']:.1e}.",
        "",
        step_table(result, memory),
    ]
    return "\n".join(lines)


def _threads(result: Mapping[str, Any]) -> str:
    return f"{result['threads']} thread" + ("s" if result["threads"] > 1 else "")


def end_to_end_section(name: str, runs: Sequence[Mapping[str, Any]], pairs: int) -> str:
    """One epoch of both programs: training alone, then the whole process, then luce's phases."""
    rounds = {p: [run for run in runs if run["program"] == p] for p in ("luce", "trl")}
    rows = []
    for label, pick in (
        ("training, the reference included", training_seconds),
        ("whole process, imports included", _whole),
    ):
        for unit, wall in (("CPU s", False), ("wall s", True)):
            luce, trl = ([pick(run, wall) for run in rounds[p]] for p in ("luce", "trl"))
            spread = Spread.of([b / a for a, b in zip(luce, trl, strict=True)])
            middle = [f"{statistics.median(times):.1f}" for times in (luce, trl)]
            rows.append([f"{label}, {unit}", *middle, times_as_long(spread)])
    phases = {
        phase: statistics.median(run["phases"][phase][0] for run in rounds["luce"])
        for phase in rounds["luce"][0]["phases"]
    }
    return "\n".join(
        [
            f"### {name}, {_threads(runs[0])}",
            "",
            f"One epoch over {pairs} HH pairs, batches of 8, {len(rounds['luce'])} rounds; both "
            "programs read the same tokens and take the same number of steps.",
            "",
            markdown(["", "luce", "TRL defaults", "× luce"], rows),
            "",
            "luce's CPU seconds by phase: "
            + ", ".join(f"{phase} {spent:.1f}" for phase, spent in phases.items())
            + ".",
        ]
    )


def _whole(run: Mapping[str, Any], wall: bool) -> float:
    return run["whole"][int(wall)]


def scaling_section(result: Mapping[str, Any]) -> str:
    """One of the tables of growth."""
    rows, rounds = result["rows"], result["rounds"]
    if result["kind"] == "sharing":
        return "\n".join(
            [
                "### Gain of sharing prompts",
                "",
                f"Shape {result['shape']}; CPU time of rows with prompts repeated over that of "
                f"rows with prompts shared, best of {rounds} rounds. Repeated: the same attention, "
                "each response with a prompt of its own; packed layout: transformers' attention.",
                "",
                markdown(
                    ["P", "R", "n", "computed", "measured", "measured/computed", "packed layout"],
                    [
                        [
                            str(r["prompt"]),
                            str(r["response"]),
                            str(r["n"]),
                            f"{r['computed']:.2f}",
                            f"{r['measured']:.2f}",
                            f"{r['measured'] / r['computed']:.2f}",
                            f"{r['packed_layout']:.2f}",
                        ]
                        for r in rows
                    ],
                ),
            ]
        )
    if result["kind"] == "responses":
        head = ["n", "tokens", "CPU s a prompt", "× n = 1", "computed", "useful GFLOP/s"]
        title = "### Responses to a prompt"
        text = (
            f"Shape {result['shape']}, prompts of {result['prompt']} tokens with n responses of "
            f"{result['response']}; median of {rounds} rounds."
        )
        cells = [
            [
                str(r["n"]),
                f"{r['tokens']:,.0f}",
                f"{r['seconds']:.3f}",
                f"{r['measured']:.2f}",
                f"{r['needed']:.2f}",
                f"{r['rate'] / 1e9:.1f}",
            ]
            for r in rows
        ]
    elif result["kind"] == "vocabulary":
        head = ["vocabulary", "CPU s", "useful GFLOP/s"]
        title = "### Vocabulary"
        text = (
            f"The body of q05ratio, {result['pairs']} HH pairs in one row; median of {rounds} "
            "rounds."
        )
        cells = [
            [f"{r['vocabulary']:,}", f"{r['seconds']:.2f}", f"{r['rate'] / 1e9:.1f}"] for r in rows
        ]
    else:
        head = ["pairs", "tokens", "CPU s", "CPU ms a token", "step memory MiB"]
        title = "### Pairs of a step"
        text = (
            f"Shape {result['shape']}, HH pairs in micro-batches of {result['budget']} tokens; "
            f"median of {rounds} rounds."
        )
        cells = [
            [
                str(r["pairs"]),
                f"{r['tokens']:,}",
                f"{r['seconds']:.2f}",
                f"{1000 * r['seconds'] / r['tokens']:.2f}",
                f"{r['step_bytes'] / 2**20:,.0f}",
            ]
            for r in rows
        ]
    return "\n".join([title, "", text, "", markdown(head, cells)])
