"""Over-optimization of a table: paths against sums by hand, and the guard before the fall."""

import math
from pathlib import Path

import pytest
import torch

from luce.diagnostics.overoptimization import Point
from luce.lab.guarded import Seen, column, seen_along, seen_in_rounds, watch
from luce.lab.over_optimization import EXPERIMENT, FEW, ONLINE, PLAN, _learned
from luce.lab.tilts import ETAS, Tilts, tilts
from luce.models.tabular import LinearWorld, long_tail


@pytest.fixture(scope="module")
def few():
    world = long_tail(20)
    return tilts(world, _learned(world, *PLAN[FEW]).theta[-1])


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def test_a_path_of_two_actions_by_hand():
    """r̂ = (1, 0) tilts (½, ½) to σ(1/η′); r* = (0, 2) falls as r̂ rises."""
    eye = torch.eye(2, dtype=torch.float64).reshape(1, 1, 2, 2)
    world = LinearWorld(eye, tensor([[0.0, 2.0]]), tensor([[[0.5, 0.5]]]).log(), 0.5)
    found = tilts(world, tensor([[1.0, 0.0]]))
    p = torch.sigmoid(1 / ETAS[40])
    kl = p * (2 * p).log() + (1 - p) * (2 * (1 - p)).log()
    assert found.kl[40].item() == pytest.approx(kl.item())
    assert found.proxy[40].item() == pytest.approx(p.item() - 0.5)
    assert found.gold[40].item() == pytest.approx(1 - 2 * p.item())
    assert found.kl[-1].item() == pytest.approx(math.log(2))


def test_between_points_of_a_path_is_interpolated_and_past_its_end_unknown():
    path = Tilts(tensor([[1.0], [2.0]]), tensor([[3.0], [1.0]]), tensor([[2.0], [4.0]]))
    gold, proxy = path.at([0.0, 0.5, 1.5, 2.5])
    assert gold[:3, 0].tolist() == [0.0, 1.5, 2.0] and gold[3].isnan().all()
    assert proxy[:3, 0].tolist() == [0.0, 1.0, 3.0]
    assert path.within([1.5, 2.5])[0][:, 0].tolist() == [2.0, 1.0]
    assert (path.peak()[0].item(), path.peak()[1].item(), path.lost().item()) == (1.0, 3.0, 2.0)


def test_the_proxy_only_rises_and_gold_peaks_and_falls(few):
    assert (few.proxy.diff(dim=0) > -1e-9).all()
    kl, top = few.peak()
    assert 1.5 < kl.mean() < 2.5
    assert 1.1 < top.mean() < 1.75
    assert few.lost().mean() > 1.0


def test_the_guard_stops_before_the_fall_wherever_there_is_one(few):
    watches = [watch(seen_along(few, w)) for w in range(20)]
    falls = [w for w in watches if w.fall > 0.5]
    assert len(falls) >= 10
    assert all(w.alarm is not None for w in falls)
    assert column(falls, lambda w: w.lost_at_stop).mean() < 0.3
    assert column(falls, lambda w: w.lost_at_stop).max() < 0.6
    assert column(falls, lambda w: w.lost_at_kept).mean() < 0.05


def test_the_mean_path_of_offline_data_is_stopped_within_a_third_of_its_peak(few):
    kls = [0.125 * i for i in range(45)]
    gold, proxy = (values.mean(1).tolist() for values in few.within(kls))
    points = [Point(*numbers, 0.04) for numbers in zip(kls, proxy, gold, strict=True)]
    found = watch(Seen(tuple(points), tuple(gold)))
    assert found.alarm is not None and found.alarm.action == "roll_back"
    assert found.lost_at_stop < 0.3 < found.fall
    assert "while the proxy rose" in found.alarm.why


def test_online_data_mend_it_and_the_guard_stays_silent():
    world = long_tail(20)
    world = LinearWorld(world.features[:8], world.theta[:8], world.reference[:8], world.eta)
    run = _learned(world, *PLAN[ONLINE])
    path = tilts(world, run.theta[-1])
    assert path.lost().mean() < 0.3
    kls = [0.125 * i for i in range(45)]
    gold, proxy = (values.mean(1).tolist() for values in path.within(kls))
    points = [Point(*numbers, 0.04) for numbers in zip(kls, proxy, gold, strict=True)]
    assert watch(Seen(tuple(points), tuple(gold))).alarm is None
    rounds = [seen_in_rounds(world, run, w) for w in range(8)]
    assert [watch(seen).alarm for seen in rounds] == [None] * 8
    start = (world.reference[0].exp() * world.reward[0]).sum().item()
    assert rounds[0].gold[-1] == pytest.approx(run.deployed_reward[-1, 0].item() - start)
    assert len(rounds[0].points) == 6


@pytest.mark.slow
def test_every_check_holds_in_the_quick_and_in_the_full_run_and_the_page_shows_that():
    for seeds, quick in ((EXPERIMENT.quick_seeds, True), (EXPERIMENT.seeds, False)):
        found = EXPERIMENT.run(seeds, quick)
        assert [check.what for check in found.checks if not check.passed] == []
        assert {len(f.axes) for f in found.figures.values()} <= {3, 4}
    page = Path(__file__).parents[2].joinpath("docs/online_theory.md").read_text(encoding="utf-8")
    for row in found.tables["peak"]:
        names = ("peak_kl", "peak_gold", "end_gold", "end_proxy")
        assert f"| {' | '.join(f'{row[name]:.2f}' for name in names)} |" in page
    for row in found.tables["guard"]:
        kept = (row["lost_at_kept_high"] - row["lost_at_kept_low"]) / 2
        assert f"{row['lost_at_kept']:.3f} ± {kept:.3f} | {row['fall']:.2f} |" in page
