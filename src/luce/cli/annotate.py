"""`luce annotate`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

annotate = App(name="annotate")

Names = Annotated[tuple[str, ...], Parameter(consume_multiple=True, show_default=False)]


@annotate.default
def serve(
    *sources: str,
    store: Path = Path("annotations.sqlite"),
    overlap: int | None = None,
    dimensions: Names = (),
    checks: str | None = None,
    check_every: int | None = None,
    people: Names = (),
    adjudicators: Names = (),
    token: bool = False,
    host: str = "127.0.0.1",
    port: int = 8730,
    allow_host: Names = (),
    names: Names = (),
    limit: int | None = None,
    seed: int | None = None,
) -> int:
    """Serve a page on which people say which responses they prefer, until interrupted.

    Responses are shown blind and in random order. Votes go to a store; the same command goes on
    with it, and without a file it serves what the store holds.

    Parameters
    ----------
    sources
        One file of tasks: rows with `prompt` and `responses`, or judged rows, whose judgement is
        not shown. Or two files and more with `prompt` and `response`, one for each model.
    store
        The SQLite file with tasks and votes.
    overlap
        So many people judge each task; 1 unless said otherwise.
    dimensions
        Each response is also rated from 1 to 5 in each of these.
    checks
        A file of pairs whose chosen response any attentive reader prefers; mixed in as checks.
    check_every
        So many tasks come before each check; 10 unless said otherwise.
    people
        Who may come in; each has a link of their own. None: anyone on this machine, by name.
    adjudicators
        Of the people, those who settle what the others disagree on.
    token
        Ask everyone for one token, printed with the link.
    host
        The address to listen on. Any but this machine's own needs --people or --token.
    port
        Of the page; 0: any that is free.
    allow_host
        Names under which the page is asked for, where it is not its address.
    names
        What the models are called, one for each of several files.
    limit
        So many rows, or prompts, only.
    seed
        Of the order of tasks and responses; 0 unless said otherwise.
    """
    from luce.cli.output import say
    from luce.errors import LuceError
    from luce.recipe.annotate import checks_of, need_server, open_store, tasks_of

    need_server()
    from luce.annotate.server.api import Door
    from luce.annotate.server.keys import Keys, clean_name
    from luce.annotate.server.serve import serve as serve_page

    known = tuple(clean_name(name) for name in people)
    settling = tuple(clean_name(name) for name in adjudicators)
    if known and (strangers := set(settling) - set(known)):
        raise LuceError(f"--adjudicators: {strangers.pop()} is not among --people. Add the name.")
    tasks, notes = tasks_of(sources, names, limit) if sources else ([], [])
    for note in notes:
        say(note)
    opened = open_store(
        store,
        tasks,
        () if checks is None else checks_of(checks),
        seed=seed,
        overlap=overlap,
        dimensions=dimensions,
        check_every=check_every,
    )

    def told(links: list[tuple[str, str]]) -> None:
        say(f"Votes go to {store}. Ctrl-C ends the page; the same command goes on with it.")
        for name, link in links:
            print(f"{name}: {link}" if name else link, flush=True)

    door = Door(known, token, settling, allow_host)
    serve_page(opened, Keys.beside(store), door, host, port, told)
    return 0


@annotate.command
def export(
    store: Path,
    /,
    *,
    out: Path = Path("preferences.jsonl"),
    to: str = "pairs",
    by: Literal["vote", "task"] = "vote",
) -> int:
    """Write the votes of a store as data.

    Parameters
    ----------
    store
        The SQLite file.
    out
        Where the rows go.
    to
        A format of `luce data convert` for pairs, rankings or unpaired rows; verdicts, for
        `luce eval win-rate`; votes, everything as it was said; csv, the same as a table.
    by
        vote: each vote, with its annotator; task: all votes on a task in one, adjudicated where
        somebody settled it.
    """
    from luce.cli.output import say
    from luce.recipe.annotate_export import export_votes

    found = export_votes(_opened(store), out, to, by)
    print(f"{found.rows:,} rows: {found.file}")
    for note in found.notes:
        say(note)
    return 0


@annotate.command
def agreement(store: Path, /, *, seed: int = 0, json: bool = False) -> int:
    """Show how far people agree, what place and length are worth to each, and who passed the
    attention checks; also while the page is served.

    Parameters
    ----------
    store
        The SQLite file.
    seed
        Of intervals.
    json
        Print as JSON.
    """
    from luce.annotate.server import results
    from luce.cli.output import print_json

    found = results(_opened(store), seed=seed)
    if json:
        print_json(found.plain())
    else:
        print(*found.lines(), sep="\n")
    return 0


def _opened(path: Path):
    from luce.annotate.server import Store
    from luce.errors import LuceError

    if not path.exists():
        raise LuceError(f"{path}: no such file. Name the store that `luce annotate` wrote.")
    return Store(path)
