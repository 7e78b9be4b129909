"""`luce lab all`: what is finished stays, what breaks is told, and the page shows it all."""

import json
import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from luce.cli.main import run
from luce.errors import LuceError
from luce.intervals import Estimate
from luce.lab import EXPERIMENTS, load
from luce.lab import experiment as lab
from luce.lab.errata import ERRATA
from luce.lab.run_all import read_index, run_all
from luce.lab.summary import errata, experiments, written

PAGE = Path(__file__).parents[2] / "docs/lab.md"


def planted(name, passes=True, breaks=False, seen=None):
    def body(seeds, quick):
        if seen is not None:
            seen.append((name, seeds, quick))
        if breaks:
            raise ValueError("no such <world>")
        figure = Figure(figsize=(1, 1))
        figure.add_subplot().plot([0, 1], [0, 1])
        check = lab.near("a number", Estimate(1.0, 0.5, 1.5, seeds), 1.0 if passes else 2.0, 0.1)
        return lab.Result((check,), {"line": figure}, {"rows": []}, f"What {name} found.")

    words = (name, f"A claim of {name}.", "A paper, eq. 1")
    return lab.Experiment(*words, body, 9, 4, "holds in part", "It stops & so.", (2, 1))


def several(seen=None, **kinds):
    made = {name: planted(name, seen=seen, **kind) for name, kind in kinds.items()}
    return {name: lambda one=one: one for name, one in made.items()}


GOOD, WRONG, BROKEN = {}, {"passes": False}, {"breaks": True}


def test_a_broken_experiment_is_told_of_and_the_rest_goes_on(tmp_path):
    told = []
    found = run_all(several(a=GOOD, b=BROKEN, c=WRONG), tmp_path, None, False, "1.0", told.append)
    assert [entry.state for entry in found] == ["passed", "error", "failed"]
    assert found[1].found == "ValueError: no such <world>"
    assert found[2].failed == ("a number: 1.000 [0.500, 1.500], expected 2 ± 0.1",)
    assert any("b: broke off. ValueError" in line for line in told)
    assert (tmp_path / "c/numbers.json").exists() and not (tmp_path / "b").exists()


def test_only_what_is_not_finished_with_these_settings_is_run(tmp_path):
    seen = []
    todo = several(seen, a=GOOD, b=WRONG, c=BROKEN)
    run_all(todo, tmp_path, None, True, "1.0", [].append)
    assert seen == [("a", 4, True), ("b", 4, True), ("c", 4, True)]
    run_all(todo, tmp_path, None, True, "1.0", [].append)
    assert seen[3:] == [("c", 4, True)]
    run_all(todo, tmp_path, 5, True, "1.0", [].append)
    assert seen[4:] == [("a", 5, True), ("b", 5, True), ("c", 5, True)]
    run_all(todo, tmp_path, 5, False, "1.0", [].append)
    assert [name for name, *_ in seen[7:]] == ["a", "b", "c"]
    run_all(todo, tmp_path, 5, False, "1.1", [].append)
    assert [name for name, *_ in seen[10:]] == ["a", "b", "c"]
    run_all(todo, tmp_path, 5, False, "1.1", [].append)
    (tmp_path / "a/line.svg").unlink()
    run_all(todo, tmp_path, 5, False, "1.1", [].append)
    assert [name for name, *_ in seen[14:]] == ["a", "c"]


def test_a_run_that_is_cut_short_keeps_what_it_had(tmp_path):
    run_all(several(a=GOOD, b=GOOD), tmp_path, None, True, "1.0", [].append)

    def stop():
        raise KeyboardInterrupt

    seen = []
    todo = several(seen, a=GOOD) | {"b": stop}
    with pytest.raises(KeyboardInterrupt):
        run_all(todo, tmp_path, 5, True, "1.0", [].append)
    assert [(e.name, e.seeds) for e in read_index(tmp_path)] == [("a", 5), ("b", 4)]


def test_the_page_shows_each_claim_with_its_figure_and_loads_nothing(tmp_path):
    run_all(several(a=GOOD, b=BROKEN, c=WRONG), tmp_path, None, True, "1.0", [].append)
    page = (tmp_path / "index.html").read_text()
    for words in ("A claim of a.", "What a found.", "It stops &amp; so.", "Holds in part."):
        assert words in page
    assert "no such &lt;world&gt;" in page and "Not as expected" in page
    assert page.count('<img src="data:image/svg+xml;base64,') == 2
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    for row in ERRATA:
        assert row.place.replace("'", "&#39;") in page


def test_an_index_that_is_not_the_lab_s_is_refused(tmp_path):
    (tmp_path / "index.json").write_text('{"experiments": [{"name": "a"}]}')
    with pytest.raises(LuceError, match="not an index of the lab"):
        list(read_index(tmp_path))


@pytest.mark.parametrize(("kinds", "code"), [({"a": GOOD}, 0), ({"a": GOOD, "b": WRONG}, 1),
                                             ({"a": BROKEN}, 1)])  # fmt: skip
def test_the_command_ends_with_1_where_something_is_not_as_expected(
    monkeypatch, tmp_path, capsys, kinds, code
):
    todo = several(**kinds)
    monkeypatch.setattr("luce.lab.EXPERIMENTS", dict.fromkeys(todo))
    monkeypatch.setattr("luce.lab.load", lambda name: todo[name]())
    assert run(["lab", "all", "--quick", "--out", str(tmp_path), "--json"]) == code
    printed = json.loads(capsys.readouterr().out)
    kept = json.loads((tmp_path / "index.json").read_text())
    assert printed == kept["experiments"]
    assert len(kept["errata"]) == len(ERRATA)


def test_every_experiment_says_whether_its_claim_holds_where_it_stops_and_what_it_costs():
    for name in EXPERIMENTS:
        one = load(name)
        assert one.stops.endswith("."), name
        assert one.cpu_s[0] >= one.cpu_s[1] > 0, name


def test_every_erratum_is_shown_by_experiments_that_exist():
    assert all(name in EXPERIMENTS for row in ERRATA for name in row.shown_by)


def test_the_page_of_the_site_has_the_tables_of_the_experiments():
    page = PAGE.read_text(encoding="utf-8")
    assert written(page) == page, "run: python -m luce.lab.summary docs"
    assert experiments() in page and errata() in page
    with pytest.raises(LuceError, match="no `<!-- by"):
        written("nothing")
