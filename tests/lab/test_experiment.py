"""Checks, what a run leaves on disk, and `luce lab`."""

import json
import math

import pytest
import torch
from matplotlib.figure import Figure

from luce.cli.main import run
from luce.intervals import Estimate
from luce.lab import EXPERIMENTS, load
from luce.lab import experiment as lab
from luce.lab.write import WIDTH, lines, save


def planted(passes, seen=None):
    def body(seeds, quick):
        if seen is not None:
            seen.append((seeds, quick))
        figure = Figure(figsize=(1, 1))
        figure.add_subplot().plot([0, 1], [0, 1])
        check = lab.near(
            "a number whose description is far too long for one line of the table",
            Estimate(1.0, 0.5, math.inf, seeds),
            1.0 if passes else 2.0,
            0.1,
        )
        return lab.Result((check,), {"line": figure}, {"rows": [{"x": 1.5}]}, "It holds. " * 20)

    words = ("planted", "A claim. " * 15, "A paper, eq. 1")
    return lab.Experiment(*words, body, 9, 4, "holds", "It stops here.", (2, 1))


@pytest.fixture
def use(monkeypatch):
    def replace(passes, seen=None):
        monkeypatch.setattr("luce.lab.load", lambda name: planted(passes, seen))

    return replace


def test_every_experiment_loads_under_its_name():
    for name in EXPERIMENTS:
        found = load(name)
        assert found.name == name and found.claim and found.source
        assert found.seeds >= found.quick_seeds >= 3


def test_a_value_is_judged_by_itself_and_a_bound_by_the_whole_interval():
    wide = Estimate(1.0, -0.1, 2.1, 9)
    assert lab.near("x", wide, 1.2, 0.2).passed
    assert not lab.near("x", wide, 1.3, 0.2).passed
    assert not lab.above("x", wide, 0.0).passed
    assert lab.above("x", wide, -0.2).passed
    assert not lab.below("x", wide, 2.0).passed
    assert lab.below("x", wide, 2.2).passed


def test_what_is_unknown_passes_nothing():
    unknown = Estimate(math.nan, math.nan, math.nan, 0)
    assert not lab.near("x", unknown, 1.0, 9.0).passed
    assert not lab.above("x", unknown, -9.0).passed


def test_a_ratio_over_seeds_is_of_means_with_seeds_drawn_together():
    a = torch.tensor([2.0, 4.0, 600.0], dtype=torch.float64)
    found = lab.ratio_over_seeds(a, a / 2)
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))
    assert lab.ratio_over_seeds(a, torch.ones(3).double()).value == pytest.approx(202.0)


def test_the_printed_table_fits_80_columns():
    result = planted(True).run(4, False)
    shown = list(lines(planted(True), result))
    assert max(map(len, shown)) <= WIDTH == 80
    assert any(line.startswith("✓ a number") and "1 ± 0.1" in line for line in shown)
    assert any(line.startswith("✗") for line in lines(planted(False), planted(False).run(4, True)))


def test_a_run_leaves_both_kinds_of_figure_and_its_numbers(tmp_path):
    one = planted(True)
    result = one.run(4, True)
    written = save(tmp_path / "new", one, result, 4, True)
    assert {p.name for p in written} == {"numbers.json", "line.png", "line.svg"}
    assert (tmp_path / "new/line.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "new/line.svg").read_text()
    numbers = json.loads((tmp_path / "new/numbers.json").read_text())
    assert numbers["checks"][0]["found"] == {"value": 1.0, "low": 0.5, "high": None, "n": 4}
    assert (numbers["seeds"], numbers["quick"], numbers["passed"]) == (4, True, True)
    assert numbers["tables"] == {"rows": [{"x": 1.5}]}


@pytest.mark.parametrize(("passes", "code"), [(True, 0), (False, 1)])
def test_the_exit_code_tells_whether_every_check_passed(use, tmp_path, capsys, passes, code):
    use(passes)
    assert run(["lab", "planted", "--out", str(tmp_path)]) == code
    out = capsys.readouterr().out
    assert ("✓" in out) == passes and "It holds." in out
    assert (tmp_path / "line.svg").exists()


def test_seeds_are_the_experiment_s_own_unless_said(use, tmp_path, capsys):
    seen = []
    use(True, seen)
    for words in ([], ["--quick"], ["--quick", "--seeds", "3"]):
        assert run(["lab", "planted", "--out", str(tmp_path), *words]) == 0
    assert seen == [(9, False), (4, True), (3, True)]
    assert run(["lab", "planted", "--seeds", "1"]) == 2
    assert "2 or more" in capsys.readouterr().err


def test_numbers_are_printed_as_json(use, tmp_path, capsys):
    use(True)
    assert run(["lab", "planted", "--json", "--out", str(tmp_path)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "numbers.json").read_text())


def test_the_list_and_an_unknown_name(capsys):
    assert run(["lab", "list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in EXPERIMENTS)
    assert run(["lab", "list", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == set(EXPERIMENTS)
    assert run(["lab", "online-regrets"]) == 2
    assert "Did you mean 'online-regret'?" in capsys.readouterr().err
