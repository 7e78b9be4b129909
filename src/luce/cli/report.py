"""`luce report`."""

from pathlib import Path


def report(
    *runs: Path,
    output: Path = Path("comparison.html"),
    watch: bool = False,
    every: float = 5.0,
) -> int:
    """Write `report.html` of a run, or one page that compares several.

    Parameters
    ----------
    runs
        Run folders.
    output
        The page that compares several runs.
    watch
        Follow a run in training: write its page anew as it grows, until it ends. The page reads
        itself again in the browser. Exit code 1 where the run failed or was stopped.
    every
        Seconds between looks at the run that is followed.
    """
    from luce.errors import LuceError
    from luce.report import write_comparison, write_report

    if not runs:
        raise LuceError("luce report: name a run folder, as in `luce report runs/demo`.")
    first, *others = runs
    if not watch:
        print(write_comparison(runs, output) if others else write_report(first))
        return 0
    from luce.cli.output import say
    from luce.report.watch import watch as follow

    if others:
        raise LuceError("--watch follows one run. Name one folder; `luce board` shows several.")
    seen = follow(first, every, say)
    print(first / "report.html")
    return 0 if seen.state == "finished" else 1
