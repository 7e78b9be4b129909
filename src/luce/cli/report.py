"""`luce report`."""

from pathlib import Path


def report(*runs: Path, output: Path = Path("comparison.html")) -> None:
    """Write `report.html` of a run, or one page that compares several.

    Parameters
    ----------
    runs
        Run folders.
    output
        The page that compares several runs.
    """
    from luce.errors import LuceError
    from luce.report import write_comparison, write_report

    if not runs:
        raise LuceError("luce report: name a run folder, as in `luce report runs/demo`.")
    print(write_report(runs[0]) if len(runs) == 1 else write_comparison(runs, output))
