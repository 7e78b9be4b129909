"""`luce board`."""

import importlib.util
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

Names = Annotated[tuple[str, ...], Parameter(consume_multiple=True, show_default=False)]


def board(
    folder: Path = Path("runs"),
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8731,
    token: bool = False,
    allow_host: Names = (),
) -> int:
    """Serve a page that shows the runs in a folder, until interrupted. It changes nothing.

    Runs are found wherever they lie below the folder: of `luce train` and `luce online`, and
    experiments of `luce lab`.

    Parameters
    ----------
    folder
        Where the runs lie.
    host
        The address to listen on. Any but this machine's own asks for a token.
    port
        Of the page; 0: any that is free.
    token
        Ask for a token on this machine, too. It is part of the link that is printed.
    allow_host
        Names under which the page is asked for, where it is not its address.
    """
    from luce.cli.output import say
    from luce.errors import LuceError

    needed = ("fastapi", "uvicorn", "markdown_it")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise LuceError(
            f"The board needs {' and '.join(missing)}. Install luce with its extra `ui`: "
            "pip install 'luce[ui]'. `luce report` writes the same pages as files without it."
        )
    from luce.report.board.serve import serve

    def told(link: str) -> None:
        say(f"The runs in {folder}. Ctrl-C ends the page.")
        print(link, flush=True)

    serve(folder, host, port, token, allow_host, told)
    return 0
