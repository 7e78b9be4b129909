"""FLOPs, alternation, memory, pages: the parts of the harness that need no trainer."""

from typing import Any

import pytest
import torch

from benchmarks import alternate, cases, end_to_end, flops, memory, page, shapes, table
from benchmarks.__main__ import parse
from benchmarks.alternate import LossMismatch, Timing, Variant


@pytest.mark.parametrize(
    ("name", "head", "body"),
    [("bigvocab", 33.6, 5.9), ("v32k", 8.2, 5.9), ("q05ratio", 4.2, 11.8), ("body", 4.1, 38.0)],
)
def test_shapes_have_the_sizes_that_they_are_known_by(name: str, head: float, body: float) -> None:
    shape = shapes.SHAPES[name]
    assert shape.head / 1e6 == pytest.approx(head, abs=0.06)
    assert shape.body / 1e6 == pytest.approx(body, abs=0.06)


def test_a_shape_counts_the_weights_of_its_network() -> None:
    shape = shapes.SHAPES["tiny"]
    model = shapes.reference_model(shape)
    matrices = sum(p.numel() for n, p in model.named_parameters() if "layers" in n and p.ndim == 2)
    assert matrices == shape.body
    assert model.get_output_embeddings().weight.numel() == shape.head


def test_large_shapes_are_the_published_ones() -> None:
    # Qwen2.5: 0.36 B, 1.31 B and 6.53 B parameters without embeddings
    for name, expected in (("0.5b", 0.358), ("1.5b", 1.31), ("7b", 6.53)):
        assert shapes.SHAPES[f"qwen2.5-{name}"].body / 1e9 == pytest.approx(expected, rel=0.01)


def test_needed_flops_by_hand() -> None:
    shape = shapes.Shape("x", vocabulary=10, hidden=4, layers=2, heads=2, key_heads=2, inner=8)
    body, head = 2 * (4 * 16 + 3 * 32), 40
    tokens, scored = 5 + (3 - 1) + (2 - 1), 5
    attention = 5**2 / 2 + 3 * 5 + 3**2 / 2 + 2 * 5 + 2**2 / 2
    expected = 3 * (2 * body * tokens + 4 * 4 * 2 * attention) + 3 * 2 * head * scored
    assert flops.needed(shape, [(5, (3, 2))]) == expected
    frozen = 2 * body * tokens + 2 * head * scored  # no gradient of these weights
    adapter = 3 * (4 * 8 + 3 * 12) * 2  # rank 3 on q, k, v, o (4 + 4) and on the MLP (4 + 8)
    with_adapter = expected - frozen + 3 * 2 * adapter * tokens
    assert flops.needed(shape, [(5, (3, 2))], rank=3) == with_adapter
    assert flops.apart([(5, (3, 2))]) == [(5, [3]), (5, [2])]


def test_every_round_runs_every_variant_and_starts_with_another() -> None:
    ran: list[tuple[str, int]] = []

    def step(name: str) -> Any:
        return lambda batch: ran.append((name, batch)) or 0.5

    variants = [Variant(name, step(name)) for name in "abc"]
    times = alternate.alternate(variants, [1, 2], 1e-4, told=lambda _: None)
    assert ran == [("a", 1), ("b", 1), ("c", 1), ("b", 2), ("c", 2), ("a", 2)]
    assert {name: len(found) for name, found in times.items()} == {"a": 2, "b": 2, "c": 2}


@pytest.mark.parametrize("other", [0.5002, float("nan")])
def test_a_loss_that_differs_stops_the_comparison(other: float) -> None:
    variants = [Variant("a", lambda _: 0.5), Variant("b", lambda _: other)]
    with pytest.raises(LossMismatch, match="b: loss .* but a: 0.5"):
        alternate.alternate(variants, [1], 1e-4, told=lambda _: None)


def test_ratios_are_taken_round_by_round() -> None:
    slow = [Timing(8, 1, 0), Timing(9, 1, 0), Timing(2, 1, 0)]
    fast = [Timing(2, 2, 0), Timing(3, 2, 0), Timing(2, 2, 0)]
    assert alternate.ratios(slow, fast) == alternate.Spread(3, 1, 4)
    assert alternate.ratios(slow, fast, wall=True).median == 0.5


def test_growth_sees_what_a_step_holds_at_its_peak_and_nothing_older() -> None:
    held = torch.ones(16 << 20)  # 64 MiB from before

    def step() -> float:
        return float(torch.ones(8 << 20).sum())  # 32 MiB, freed again

    assert 30 << 20 < memory.growth(step) < 48 << 20
    assert memory.growth(lambda: held.sum()) < 8 << 20


def result(threads: int = 1) -> dict[str, Any]:
    def times(*seconds: float) -> list[dict[str, float]]:
        return [{"cpu_s": s, "wall_s": 2 * s, "loss": 0.7} for s in seconds]

    useful = {"flops": [2e9, 2e9], "tokens": [100, 100], "scored": [40, 40]}
    return {
        "case": {
            "name": "x",
            "shape": "tiny",
            "batch_size": 4,
            "bf16": False,
            "lora": False,
        },
        "rounds": 2,
        "threads": threads,
        "device": "cpu",
        "source": "rows",
        "times": {
            cases.LUCE: times(1, 1),
            cases.PLAIN: times(2, 2),
            cases.TUNED: times(2, 4),
            cases.LUCE_GROUPED: times(2, 2),
            cases.GROUPED: times(3, 3),
        },
        "useful": {cases.LUCE: useful, cases.GROUPED: useful},
        "padded_tokens": 400,
        "gemm_peak": 4e9,
        "quick_peak": 8e9,
        "loss_difference": 1e-6,
    }


def test_a_table_compares_each_variant_with_luce_on_its_own_batches() -> None:
    memory_of = {cases.LUCE: {"step_bytes": 1 << 20}, cases.TUNED: {"step_bytes": 3 << 20}}
    lines = table.step_section(result(), memory_of).splitlines()
    tuned = next(line for line in lines if line.startswith(f"| {cases.TUNED} |"))
    # 2 s and 4 s against 1 s: median 3; 8 pairs and 4 GFLOP in 6 s of a peak of 4 GFLOP/s
    for cell in ("3.00 (2.00–4.00)", "3 (3.0)", "1.33", "0.7 (17 %)"):
        assert f" {cell} |" in tuned
    for name in (cases.LUCE, cases.PLAIN):  # 2 of 8 GFLOP/s, 1 of 4
        line = next(line for line in lines if line.startswith(f"| {name} |"))
        assert " (25 %) |" in line
    grouped = next(line for line in lines if line.startswith(f"| {cases.GROUPED} |"))
    assert " 1.50 (1.50–1.50) |" in grouped and " – |" in grouped


def test_more_threads_are_judged_by_the_clock() -> None:
    lines = table.step_section(result(threads=2), {}).splitlines()
    luce = next(line for line in lines if line.startswith("| luce |"))
    assert " 2.00 | 50 |" in luce  # 8 pairs and 200 tokens in 4 s


def test_an_epoch_counts_the_reference_pass_of_luce() -> None:
    def run(program: str, phases: dict[str, list[float]]) -> dict[str, Any]:
        whole = [20.0, 20.0]
        return {"program": program, "phases": phases, "whole": whole, "threads": 1} | {
            "tokens": "a",
            "steps": 2,
            "first_loss": 0.69,
        }

    luce = run("luce", {"reference pass": [1, 1], "train": [3, 3], "report": [9, 9]})
    trl = run("trl", {"train": [40, 40], "save": [5, 5]})
    assert end_to_end.training_seconds(luce) == 4 and end_to_end.training_seconds(trl) == 40
    end_to_end.compared([luce, trl])
    text = table.end_to_end_section("e", [luce, trl], 16)
    assert "| training, the reference included, CPU s | 4.0 | 40.0 | 10.0 (10.0–10.0) |" in text
    with pytest.raises(SystemExit, match="differ in tokens"):
        end_to_end.compared([luce, trl | {"tokens": "b"}])


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        (
            "sharing",
            {"prompt": 8, "response": 2, "n": 2, "computed": 1.6}
            | {"measured": 1.5, "packed_layout": 1.9},
        ),
        (
            "responses",
            {"n": 2, "tokens": 9, "seconds": 1.0, "measured": 1.2, "needed": 1.1, "rate": 1e9},
        ),
        ("vocabulary", {"vocabulary": 8000, "seconds": 1.0, "rate": 1e9}),
        ("pairs", {"pairs": 8, "tokens": 90, "seconds": 1.0, "step_bytes": 1 << 20}),
    ],
)
def test_every_table_of_growth_is_a_table(kind: str, row: dict[str, Any]) -> None:
    found = {"kind": kind, "shape": "s", "rounds": 1, "prompt": 1, "response": 1, "pairs": 1}
    text = table.scaling_section(found | {"budget": 1, "rows": [row]})
    head, rule, body = text.splitlines()[-3:]
    assert head.count("|") == rule.count("|") == body.count("|") > 3


def test_a_page_says_where_and_how(monkeypatch: pytest.MonkeyPatch) -> None:
    text = page.page(["### one"], ["--quick"])
    for part in ("Machine:", "trl 1.16", "python -m benchmarks --quick`", "### one"):
        assert part in text


def test_the_default_is_every_case_of_the_device() -> None:
    names = {case.name for case in cases.CPU_CASES}
    assert names < set(parse([]).case)
    assert set(parse(["--device", "cuda"]).case) == {case.name for case in cases.CUDA_CASES}
    assert parse(["--quick"]).case == ["quick"]
