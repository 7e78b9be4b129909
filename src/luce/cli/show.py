"""`luce show`."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    from luce.objectives.cards import Card

WIDTH = 80


def show(
    name: str,
    /,
    *,
    set_: Annotated[tuple[str, ...], Parameter(name="--set", show_default=False)] = (),
    plot: Path | None = None,
    json: bool = False,
) -> None:
    """The card of an objective, of a part, or of a diagnostic: formula, facts, source.

    Parameters
    ----------
    name
        A name of `luce list`, as `simpo`, `savage` or `labels/geometric`; `diagnostics/NAME`; or
        `module:name` of an objective of your own.
    set_
        A parameter of the objective, as `--set beta=0.5`; may be repeated.
    plot
        A .png, .svg or .pdf file to write: cost, derivative and link against the margin.
    json
        Print the card as JSON.
    """
    from luce.cli.output import print_json, say
    from luce.cli.settings import parse_settings
    from luce.objectives.build import make_objective
    from luce.objectives.cards import card, find
    from luce.objectives.units import scale_warning

    if name.startswith("diagnostics/"):
        _show_diagnostic(name.removeprefix("diagnostics/"), json, bool(set_) or plot is not None)
        return
    settings = parse_settings(set_)
    found = card(name, settings)
    if find(name)[0] == "objectives" and settings:
        warning = scale_warning(make_objective(name, settings))
        if warning:
            say(f"warning: {warning}")
    if plot is not None:
        from luce.report.objective_plot import save_plot

        save_plot(name, settings, plot)
        say(f"wrote {plot}")
    if json:
        print_json(found.plain())
    else:
        print(as_text(found))


def _show_diagnostic(name: str, json: bool, more: bool) -> None:
    from luce.cli.output import print_json
    from luce.diagnostics.cards import DIAGNOSTICS
    from luce.errors import LuceError, did_you_mean

    if name not in DIAGNOSTICS:
        hint = did_you_mean(name, DIAGNOSTICS)
        raise LuceError(f"diagnostics/{name}: no such diagnostic. {hint}")
    if more:
        raise LuceError(f"diagnostics/{name}: --set and --plot are for objectives.")
    found = DIAGNOSTICS[name].plain()
    if json:
        print_json({"name": name, **found})
        return
    print(found.pop("title"))
    for label, content in found.items():
        print()
        print(*textwrap.wrap(f"{label.capitalize()}: {content}", WIDTH), sep="\n")


def as_text(card: "Card") -> str:
    """The card for people, 80 columns wide but for the lines that are to be copied."""
    from luce.objectives.card_lines import card_lines

    lines = [card.name, "", *textwrap.wrap(card.summary, WIDTH)]
    for paragraph in card.text:
        lines += ["", *textwrap.wrap(paragraph, WIDTH)]
    lines.append("")
    for label, content in card_lines(card):
        if isinstance(content, str):
            lines += _hanging(label, content, 12, whole=label == "LaTeX")
        else:
            lines.append(label)
            width = min(22, max(len(key) for key, _ in content) + 2)
            for key, text in content:
                lines += _hanging(f"  {key}", text, width + 2)
    if card.kind == "objectives":
        lines.append(f"recipe      objective: {_as_recipe(card)}")
    return "\n".join(lines)


def _hanging(label: str, text: str, indent: int, whole: bool = False) -> list[str]:
    """`label  text`, the text going on below itself."""
    if whole:
        return [f"{label.ljust(indent)}{text}"]
    wrapped = textwrap.wrap(
        text,
        max(WIDTH - indent, 20),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]
    if len(label) >= indent:
        return [label, *(" " * indent + line for line in wrapped)]
    first, *rest = wrapped
    return [f"{label.ljust(indent)}{first}".rstrip(), *(" " * indent + line for line in rest)]


def _as_recipe(card: "Card") -> str:
    """One line that a recipe can hold: what the card shows, without what is unset."""
    from luce.recipe.yaml12 import scalar_text

    given: Mapping[str, Any] = {p.name: p.value for p in card.parameters if p.value is not None}
    return scalar_text({card.name: given} if given else card.name)
