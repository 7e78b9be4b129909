"""`luce list` and `luce show`: what a recipe can name, read from the tables themselves."""

import inspect
from collections.abc import Mapping
from typing import Any, Literal

Kind = Literal["objectives", "losses", "scores", "regularizers", "formats"]


def _table(kind: Kind) -> Mapping[str, Any]:
    match kind:
        case "objectives":
            from luce.objectives.presets import OBJECTIVES as table
        case "losses":
            from luce.objectives.losses import LOSSES as table
        case "scores":
            from luce.objectives.scores import SCORES as table
        case "regularizers":
            from luce.objectives.regularizers import REGULARIZERS as table
        case "formats":
            from luce.data.formats import FORMATS as table
    return table


def list_names(kind: Kind = "objectives", /, *, json: bool = False) -> None:
    """Names that a recipe or Python can use, a line each.

    Parameters
    ----------
    kind
        Which table.
    json
        Print name and line as JSON.
    """
    from luce.cli.output import print_json, print_table

    rows = [{"name": name, "what": _line(kind, entry)} for name, entry in _table(kind).items()]
    if json:
        print_json(rows)
    else:
        print_table(rows)


def _line(kind: Kind, entry: Any) -> str:
    """What an entry is: the formula of a loss, what a format needs, else the first sentence."""
    match kind:
        case "losses":
            return entry.formula("z")
        case "formats":
            needs = ", ".join(f"{column} ({values})" for column, values in entry.needs.items())
            return f"{entry.structure}: {needs}; {entry.about}"
        case _:
            return " ".join((inspect.getdoc(entry) or "").split("\n\n")[0].split())


def show(name: str, /, *, json: bool = False) -> None:
    """An objective: its formula with the defaults, its parameters, and where it comes from.

    Parameters
    ----------
    name
        A name of `luce list objectives`.
    json
        Print the card as JSON.
    """
    from luce.cli.output import print_json
    from luce.objectives.build import defaults, make_objective
    from luce.objectives.presets import OBJECTIVES

    objective: Any = make_objective(name, {})
    card = {
        "name": name,
        "formula": objective.formula,
        "parameters": defaults(name),
        "structure": objective.structure,
        "needs_reference": objective.needs_reference,
        "source": objective.source,
        "text": inspect.getdoc(OBJECTIVES[name]),
    }
    if json:
        print_json(card)
        return
    print(f"{name}\n\n{card['text']}\n")
    print(f"formula     {card['formula']}")
    for key, value in card["parameters"].items():
        print(f"parameter   {key} = {'unset' if value is None else value}")
    print(f"data        {card['structure']}")
    print(f"reference   {'needed' if card['needs_reference'] else 'not needed'}")
    print(f"source      {card['source']}")
    print(f"recipe      objective: {_as_recipe(name, card['parameters'])}")


def _as_recipe(name: str, parameters: Mapping[str, Any]) -> str:
    from luce.recipe.yaml12 import scalar_text

    given = {key: value for key, value in parameters.items() if value is not None}
    return scalar_text({name: given} if given else name)
