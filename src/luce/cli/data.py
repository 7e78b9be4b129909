"""`luce data`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

data = App(name="data", help="Look into preference data, or convert it.")


@data.command
def convert(
    source: str,
    out: Path,
    /,
    *,
    to: str,
    format: str = "auto",
    column: Annotated[tuple[str, ...], Parameter(show_default=False)] = (),
    split: str | None = None,
    config: str | None = None,
    bad_rows: Literal["stop", "drop"] = "stop",
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Write the rows of a source in another format.

    Parameters
    ----------
    source
        A file, a folder, or a `datasets` name.
    out
        The file to write: .jsonl, .jsonl.gz or .json.
    to
        A name of `luce list formats`.
    format
        The format of the source; auto tells it from the first rows.
    column
        A column that is called otherwise, as `--column prompt=question`; may be repeated.
    split
        Of a `datasets` name or folder.
    config
        Of a `datasets` name.
    bad_rows
        stop at unusable rows, or drop and count them.
    overwrite
        Replace the output where it exists.
    json
        Print the counts as JSON.
    """
    from luce.cli.output import print_json
    from luce.cli.settings import parse_settings
    from luce.recipe.convert import convert as convert_rows

    done = convert_rows(
        source,
        out,
        to,
        format=format,
        columns={name: str(theirs) for name, theirs in parse_settings(column, "--column").items()},
        split=split,
        config=config,
        bad_rows=bad_rows,
        overwrite=overwrite,
    )
    if json:
        print_json(done)
        return
    print(f"{source}: format {done['format']} ({done['reason']}).")
    dropped = ", ".join(f"{n} {reason}" for reason, n in done["dropped"].items())
    print(
        f"{out}: {done['rows_written']:,} rows as {to}"
        + (f"; dropped {dropped}." if dropped else ".")
    )


@data.command
def check(
    source: str,
    /,
    *,
    against: Annotated[tuple[str, ...], Parameter(show_default=False)] = (),
    policy: str | None = None,
    filter: Path | None = None,
    html: Path | None = None,
    format: str = "auto",
    column: Annotated[tuple[str, ...], Parameter(show_default=False)] = (),
    split: str | None = None,
    config: str | None = None,
    overwrite: bool = False,
    seed: int = 0,
    json: bool = False,
) -> int:
    """Show what a file of pairs or rankings will teach besides what it is meant to.

    Length, marks of form, empty, identical, repeated and contradicting rows, noise of the labels,
    responses that hardly differ, agreement of annotators, and whether a scalar reward can say it
    all: shares with counts and intervals by prompt. Exit code 0 where nothing is found, 1 with
    findings, 2 where the file cannot be used.

    Parameters
    ----------
    source
        A file, a folder, or a `datasets` name.
    against
        Another split or a benchmark, whose prompts should not be in the file; may be repeated.
    policy
        A model: how far the responses are from what it writes itself.
    filter
        Write the rows without a fault here (.jsonl, .jsonl.gz or .json), and list the others beside
        it.
    html
        Write a page with figures here.
    format
        The format of the source; auto tells it from the first rows.
    column
        A column that is called otherwise, as `--column prompt=question`; may be repeated.
    split
        Of a `datasets` name or folder.
    config
        Of a `datasets` name.
    overwrite
        Replace the filtered file where it exists.
    seed
        Of intervals and of what is drawn.
    json
        Print the findings as JSON.
    """
    from luce.cli.output import print_json
    from luce.cli.settings import parse_settings
    from luce.recipe.data_check import data_check, write_page

    found = data_check(
        source,
        against=against,
        policy=policy,
        filter=filter,
        overwrite=overwrite,
        format=format,
        columns={name: str(theirs) for name, theirs in parse_settings(column, "--column").items()},
        split=split,
        config=config,
        seed=seed,
    )
    if html is not None:
        write_page(found, html)
    if json:
        print_json(found.plain())
    else:
        print(found.text(), end="")
    return 1 if found.findings else 0
