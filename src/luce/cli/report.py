"""`luce report`."""

from pathlib import Path


def report(*runs: Path, output: Path | None = None) -> None:
    """Write the report of a run, or one page that compares several.

    Parameters
    ----------
    runs
        Run folders.
    output
        The page to write; by default `report.html` in the run's folder, or `comparison.html` here.
    """
    from luce.errors import LuceError
    from luce.report import compare, write_report

    if not runs:
        raise LuceError("luce report: name a run folder, as in `luce report runs/demo`.")
    page = write_report(runs[0], output) if len(runs) == 1 else compare(runs, output)
    print(page)
