"""`luce beta`."""

import re
from typing import Annotated

from cyclopts import App, Parameter

beta = App(name="beta", help="β in the units of another objective.")


@beta.command
def convert(
    *,
    from_: Annotated[str, Parameter(name="--from")],
    to: str,
    tokens: float | None = None,
    json: bool = False,
) -> None:
    """The β with which one objective regularizes as another does with its own, near the reference.

    Both costs have the lowest point of their parabola at h = 0, |f′(0)|/f″(0), at the same margin.

    Parameters
    ----------
    from_
        An objective with its parameters, as `dpo:beta=0.1` or `simpo:beta=2,gamma=1`.
    to
        The other objective; parameters besides its β as above.
    tokens
        Mean length of a response, where one objective sums over tokens and the other takes means.
    json
        Print the conversion as JSON.
    """
    from luce.cli.output import print_json
    from luce.objectives.units import convert_beta

    source, source_parameters = _named(from_, "--from")
    target, target_parameters = _named(to, "--to")
    found = convert_beta(source, target, source_parameters, target_parameters, tokens)
    if json:
        print_json(found.plain())
        return
    length = f", at {found.tokens:g} tokens a response" if found.tokens else ""
    print(
        f"{source} with {found.source_key} = {found.source_beta:g} regularizes as {target} with "
        f"{found.target_key} = {found.target_beta:g}{length}."
    )
    lowest = f"{found.lowest:.4g} {found.unit}".strip()
    print(f"Near the reference the parabolas of both costs are lowest at a margin of {lowest}.")


def _named(text: str, flag: str) -> tuple[str, dict]:
    """`name:key=value,…` taken apart."""
    from luce.cli.settings import parse_settings

    parts = re.fullmatch(r"(.*?)(?::(\w+=.*))?", text)
    assert parts is not None  # every text is of this form
    return parts[1], parse_settings((parts[2] or "").split(",") if parts[2] else [], flag)
