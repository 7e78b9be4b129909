"""`luce data`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

data = App(name="data", help="Convert preference data from one format to another.")


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
