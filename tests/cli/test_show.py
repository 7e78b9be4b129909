import json

import pytest

from luce.cli.main import run
from luce.objectives.cards import TABLES
from luce.objectives.presets import OBJECTIVES
from luce.recipe.load import load_recipe
from luce.recipe.yaml12 import parse_yaml

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_recipe_line_of_a_card_is_a_recipe(capsys, name):
    assert run(["show", name]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"{name}\n")
    line = next(x for x in shown.splitlines() if x.startswith("recipe "))
    written = parse_yaml(line.removeprefix("recipe").strip(), "card").value
    assert load_recipe({"model": "m", "data": "d"} | written).objective.name == name


@pytest.mark.parametrize("kind", TABLES)
def test_every_card_is_80_columns_wide_but_for_lines_to_copy(capsys, kind):
    for name in TABLES[kind]:
        assert run(["show", f"{kind}/{name}"]) == 0
        lines = capsys.readouterr().out.splitlines()
        long = [x for x in lines if len(x) > 80 and not x.startswith(("LaTeX ", "recipe "))]
        assert long == []
        heads = [x for x in lines if x and not x.startswith(" ")]
        assert heads[0] == name and any(x.startswith("formula ") for x in heads)


def test_a_card_has_its_sections_in_order(capsys):
    run(["show", "gpo_savage"])
    lines = capsys.readouterr().out.splitlines()
    heads = [line[:12].strip() for line in lines if line[:1].isalpha()]
    assert heads[2:] == [
        "formula", "LaTeX", "parts", "parameters", "margin loss", "near 0", "satisfied", "score",
        "optimum", "rows", "needs", "pitfalls", "source", "recipe",
    ]  # fmt: skip


def test_a_card_is_json_on_demand(capsys):
    assert run(["show", "simpo", "--set", "beta=10", "--set", "gamma=3", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["formula"] == "−log σ(10·[(log π/|y|)(chosen) − (log π/|y|)(rejected)] − 3)"
    assert [(p["name"], p["value"], p["default"]) for p in card["parameters"][:2]] == [
        ("beta", 10.0, 2.0),
        ("gamma", 3.0, None),
    ]
    assert card["loss"]["shape"] == {"value": pytest.approx(0.6931472), "slope": -0.5,
                                     "curvature": 0.25}  # fmt: skip
    assert card["reach"][0]["unit"] == "nats per token"


def test_a_parameter_that_is_set_stands_in_every_line(capsys):
    assert run(["show", "dpo", "--set", "beta=0.5"]) == 0
    shown = capsys.readouterr().out
    for text in ("−log σ(0.5·", "beta = 0.5", "(The default is 0.1.)", "5.889 nats", "{beta: 0.5}"):
        assert text in shown


def test_a_beta_of_the_other_family_is_a_warning(capsys):
    assert run(["show", "dpo", "--set", "beta=5"]) == 0
    assert "warning: objective.dpo.beta: 5 is usual for means" in capsys.readouterr().err
    assert run(["show", "dpo", "--set", "beta=0.2"]) == 0
    assert capsys.readouterr().err == ""


def test_parts_are_shown_by_kind_and_name(capsys):
    assert run(["show", "losses/savage"]) == 0
    shown = capsys.readouterr().out
    assert "convex   no" in shown and "counts it among convex losses" in shown
    assert "used by  gpo_savage" in shown and "recipe" not in shown
    assert run(["show", "savage"]) == 0
    assert capsys.readouterr().out == shown


def test_a_loss_names_those_that_use_it_in_a_sum(capsys):
    run(["show", "losses/sigmoid"])
    assert "used by  apo_down" in capsys.readouterr().out


def test_an_objective_of_ones_own_is_shown(capsys, tmp_path, monkeypatch):
    (tmp_path / "my_objective.py").write_text(
        "from luce.objectives import LOSSES, Objective\n"
        "from luce.objectives.scores import log_ratio\n\n"
        "def steep(beta: float = 0.4):\n"
        '    """Steep DPO.\n\n    Args:\n        beta: raising it helps.\n    """\n'
        '    return Objective(log_ratio(beta), LOSSES["exponential"], name="steep")\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert run(["show", "my_objective:steep", "--set", "beta=0.2"]) == 0
    shown = capsys.readouterr().out
    assert "Steep DPO." in shown and "exp(−0.2·" in shown and "raising it helps." in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["smpo"], "Did you mean 'simpo'?"),
        (["losses/savge"], "Did you mean 'savage'?"),
        (["loss/savage"], "no 'loss'. Did you mean 'losses'?"),
        (["reverse_kl"], "labels/reverse_kl and lists/reverse_kl. Say which."),
        (["dpo", "--set", "bta=1"], "Did you mean 'beta'?"),
        (["losses/hinge", "--set", "delta=2"], "only objectives take `--set`"),
        (["sft", "--plot", "x.png"], "is no function of a margin, so none is drawn"),
        (["labels/soft", "--plot", "x.png"], "only objectives and losses are drawn"),
        (["dpo", "--plot", "x.gif"], "Use .png, .svg or .pdf."),
    ],
)
def test_what_cannot_be_shown_is_one_line(capsys, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert run(["show", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.startswith("luce: ") and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_plot_is_written_beside_the_card(capsys, tmp_path):
    file = tmp_path / "dpo.png"
    assert run(["show", "dpo", "--set", "beta=0.5", "--plot", str(file)]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("dpo\n") and f"wrote {file}" in told.err
    data = file.read_bytes()
    width, height = (int.from_bytes(data[i : i + 4], "big") for i in (16, 20))
    assert data.startswith(PNG) and (width, height) == (1728, 560) and len(data) > 10_000


def test_a_diagnostic_has_a_card(capsys):
    assert run(["show", "diagnostics/displacement"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Likelihood displacement") and "arXiv:2410.08847" in said
    assert max(map(len, said.splitlines())) <= 80
    assert run(["show", "diagnostics/displacement", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "displacement"
    assert run(["show", "diagnostics/displace"]) == 2
    assert "Did you mean 'displacement'?" in capsys.readouterr().err
    assert run(["show", "diagnostics/length", "--plot", "x.png"]) == 2
    assert "for objectives" in capsys.readouterr().err
