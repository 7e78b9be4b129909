"""The page on objectives says what the table does."""

from pathlib import Path

import pytest

from luce.objectives import LABELS, LOSSES, OBJECTIVES, REGULARIZERS, SCORES
from luce.objectives.build import defaults

PAGE = Path(__file__).resolve().parents[2] / "docs" / "objectives.md"


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_page_has_the_defaults_formula_and_source_of_every_objective(name):
    objective = OBJECTIVES[name]()
    settings = ", ".join(f"{key}={value}" for key, value in defaults(name).items())
    cells = (
        f"`{name}({settings})`",
        objective.structure,
        "`" + objective.formula.replace("|", "\\|") + "`",
        objective.source,
    )
    assert f"| {' | '.join(cells)} |" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "table", [SCORES, LOSSES, LABELS, REGULARIZERS], ids=lambda t: next(iter(t))
)
def test_the_page_names_every_part(table):
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in table if f"`{name}`" not in page] == []
