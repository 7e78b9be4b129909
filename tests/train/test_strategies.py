"""Whatever is trained, however it is spread over processes: the weights and the metrics of one.

`python tests/train/test_strategies.py` prints the table of docs/distributed.md out of these runs.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

RANKS = Path(__file__).with_name("strategy_ranks.py")
TOLERANCE = 1e-6
NAMES = (
    "pairs unpaired lists demonstrations batch batch_dro lora lora_live kl_live checkpointing "
    "lora_checkpointing batch_checkpointing reward reward_lora"
).split()
SOME = ["unpaired", "batch", "lora_live", "reward"]
RESUMED = ["pairs", "unpaired", "batch", "lora_checkpointing", "reward"]


def ranks(model: Path, out: Path, strategy: str, processes: int, names: list[str], *more: str):
    command = [sys.executable, str(RANKS)]
    if processes > 1:
        options = ["--standalone", f"--nproc-per-node={processes}"]
        command = [sys.executable, "-m", "torch.distributed.run", *options, str(RANKS)]
    command += [str(model), str(out), strategy, *names, *more]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=1200,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0 and "UserWarning" not in done.stderr, done.stderr
    return json.loads(out.read_text()), load_file(out.with_suffix(".safetensors"))


def furthest(one, other, name: str) -> tuple[float, float]:
    """The largest difference in a weight, and in a number of a record."""
    (records, weights), (others, cut) = one, other
    mine = {k: v for k, v in weights.items() if k.startswith(f"{name}:")}
    assert mine and mine.keys() == {k for k in cut if k.startswith(f"{name}:")}
    apart = max(float((cut[k] - v).abs().max()) for k, v in mine.items())
    told = 0.0
    for a, b in zip(records[name], others[name], strict=True):
        assert a.keys() == b.keys()
        for key, value in a.items():
            if isinstance(value, str):
                assert b[key] == value
            elif value is not None:
                told = max(told, abs(b[key] - value))
    return apart, told


@pytest.fixture(scope="module")
def alone(tiny_model_dir, tmp_path_factory):
    """What one process makes of every case."""
    return ranks(tiny_model_dir, tmp_path_factory.mktemp("one") / "one.json", "ddp", 1, NAMES)


def check(alone, model: Path, out: Path, strategy: str, processes: int, names: list[str]) -> None:
    found = ranks(model, out, strategy, processes, names)
    for name in names:
        weights, metrics = furthest(alone, found, name)
        assert weights < TOLERANCE and metrics < TOLERANCE, (name, weights, metrics)


def test_the_runs_do_something(alone):
    """Weights have moved, and gradients were clipped."""
    records, _ = alone
    for name in NAMES:
        steps = [r for r in records[name] if r["split"] == "train"]
        assert len(steps) == 7 and steps[-1]["groups"] == 1
        assert records[name][0]["eval_loss"] != pytest.approx(records[name][-1]["eval_loss"])
        assert any(r["grad_norm"] > 0.5 for r in steps)


def test_two_processes_with_shards_equal_one(alone, tiny_model_dir, tmp_path):
    check(alone, tiny_model_dir, tmp_path / "two.json", "fsdp2", 2, SOME)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
@pytest.mark.parametrize("processes", [2, 3])
def test_every_structure_equals_one_process(alone, tiny_model_dir, tmp_path, strategy, processes):
    check(alone, tiny_model_dir, tmp_path / "n.json", strategy, processes, NAMES)


@pytest.mark.slow
@pytest.mark.parametrize(
    "first, then",
    [
        (("fsdp2", 2), ("ddp", 1)),
        (("fsdp2", 2), ("fsdp2", 3)),
        (("ddp", 2), ("fsdp2", 3)),
        (("fsdp2", 3), ("ddp", 2)),
    ],
    ids=["fsdp2_2-1", "fsdp2_2-fsdp2_3", "ddp_2-fsdp2_3", "fsdp2_3-ddp_2"],
)
def test_checkpoints_go_on_elsewhere(alone, tiny_model_dir, tmp_path, first, then):
    """On another number of processes, and under the other strategy."""
    half = tmp_path / "half"
    half.mkdir()
    more = ["--half", str(half)]
    whole = ranks(tiny_model_dir, tmp_path / "whole.json", *first, RESUMED, *more)
    for name in RESUMED:
        assert any(k.endswith("exp_avg_sq") for k in load_file(half / f"{name}.safetensors"))
    resumed = ranks(tiny_model_dir, tmp_path / "resumed.json", *then, RESUMED, *more)
    for name in RESUMED:
        assert len(resumed[0][name]) == 5  # steps 4 to 7, and the evaluation
        whole[0][name][:] = whole[0][name][-5:]
        assert max(furthest(whole, resumed, name)) < TOLERANCE, name
        assert max(furthest(alone, (alone[0], resumed[1]), name)) < TOLERANCE, name


def table(model: Path, folder: Path) -> str:
    """The table of docs/distributed.md: the larger of the two differences in each cell."""
    sys.path.insert(0, str(RANKS.parent))
    from strategy_ranks import CASES  # type: ignore[import-not-found]

    spreads = [(s, n) for s in ("ddp", "fsdp2") for n in (2, 3)]
    one = ranks(model, folder / "one.json", "ddp", 1, NAMES)
    found = [ranks(model, folder / f"{s}{n}.json", s, n, NAMES) for s, n in spreads]
    lines = ["| trained | " + " | ".join(f"{s}, {n} processes" for s, n in spreads) + " |"]
    lines.append("|" + "---|" * (1 + len(spreads)))
    for name in NAMES:
        cells = [f"{max(furthest(one, other, name)):.0e}" for other in found]
        lines.append(f"| {CASES[name].words} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print the table, of a tiny model that is made here."""
    import tempfile

    from luce.models.tiny import Shape, new_model_folder

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = [f"word {i * i} and {i**3}" for i in range(300)]  # enough for 300 tokens
        shape = Shape(hidden=32, layers=2, heads=4, max_positions=512, tie=True)
        new_model_folder(folder / "tiny", texts, vocab_size=300, shape=shape)
        print(table(folder / "tiny", folder))


if __name__ == "__main__":
    main()
