"""`luce compare`."""

from pathlib import Path


def compare(*runs: Path, html: Path | None = None, json: bool = False) -> None:
    """Runs side by side: what differs in their making, their results, and paired differences.

    Differences are those from the first run, on the held-out pairs and the prompts that both have;
    what the runs have in common cancels in them.

    Parameters
    ----------
    runs
        Two to eight run folders.
    html
        Also write a page with the curves laid over each other.
    json
        Print the comparison as JSON.
    """
    from luce.cli.output import print_json, say
    from luce.files import write_atomic
    from luce.report.compare import compare_runs, render_comparison
    from luce.report.compare_text import comparison_lines

    found = compare_runs(runs)
    if json:
        print_json(found.plain())
    else:
        print(*comparison_lines(found), sep="\n")
    if html is not None:
        write_atomic(html, render_comparison(found))
        say(f"page: {html}")
