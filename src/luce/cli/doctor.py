"""`luce doctor`."""


def doctor(*, json: bool = False) -> int:
    """What this machine has, and whether luce works on it.

    Looks at versions, devices, the layouts of rows on a tiny model, room on the disk, threads, the
    locale, and optional extras. Exit code 1 where something that luce needs is wrong.

    Parameters
    ----------
    json
        Print the checks as JSON.
    """
    from pathlib import Path

    from luce.cli.output import print_json
    from luce.recipe.doctor import examine, failed, plain, report_lines

    checks = examine(Path.cwd())
    if json:
        print_json(plain(checks))
    else:
        print("\n".join(report_lines(checks)))
    return 1 if failed(checks) else 0
