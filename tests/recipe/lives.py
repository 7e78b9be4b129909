"""Runs that are killed at drawn instants and gone on with, each life a fork of one process that has
imported everything: a life costs what it trains, and SIGKILL ends a real process all the same.

    python lives.py < {"verb": "train", "recipe": {…}, "kills": 20, "seed": 0}

An instant is a fraction of the CPU time of an undisturbed life, so that it means the same on a busy
machine, or of the records that such a life writes, as often; half of the latter then wait until a
file is being written aside. What is left is printed as JSON: of each kill its instant
and what was there, and the files that differ in the end.
"""

import importlib
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from stand_ins import differences, left

from luce.cli.main import run

TICK = os.sysconf("SC_CLK_TCK")


def live(arguments: list[str], log: Path, at_end: Callable[[], object] | None = None) -> int:
    """Start a life; returns its process."""
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        code = run(arguments)
        if at_end is not None:
            at_end()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def spent(process: int) -> float:
    """Seconds of CPU time so far, of all threads, in user and system mode."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def whole(arguments: list[str], log: Path, at_end: Callable[[], object] | None = None) -> float:
    """Let a life end by itself; returns its CPU time."""
    _, status, used = os.wait4(live(arguments, log, at_end), 0)
    assert os.waitstatus_to_exitcode(status) == 0, log.read_text()[-4000:]
    return used.ru_utime + used.ru_stime


def killed(arguments: list[str], log: Path, ready: Callable[[float], bool]) -> bool:
    """Kill a life as soon as `ready(CPU time)`; False where it ended before."""
    process = live(arguments, log)
    while os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if ready(spent(process)):
            os.kill(process, signal.SIGKILL)
            return os.WIFSIGNALED(os.waitpid(process, 0)[1])
        time.sleep(0.001)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0, log.read_text()[-4000:]
    return False


def aside(folder: Path) -> bool:
    """Whether a file, or a folder of a checkpoint, is being written."""
    with suppress(OSError):  # it was renamed meanwhile
        return any(".partial" in path.name for path in folder.rglob(".*"))
    return False


def remains(folder: Path) -> dict[str, bytes]:
    """What a run left, but for files that were never finished."""
    return {name: content for name, content in left(folder).items() if ".partial" not in name}


def records(folder: Path) -> int:
    """Lines of metrics so far, of rounds too."""
    return sum(path.read_text().count("\n") for path in folder.rglob("metrics.jsonl"))


def progress(folder: Path) -> str:
    """Where a run stood when it was killed."""
    last = max(folder.rglob("*"), key=lambda path: path.stat().st_mtime_ns, default=folder)
    return f"{records(folder)} records, {last.relative_to(folder)}"


def test(verb: str, recipe: dict[str, Any], kills: int, seed: int) -> dict[str, Any]:
    """Kill runs of the recipe, two times each, until there are so many kills; compare what they
    leave with what an undisturbed run does."""
    Path("recipe.yaml").write_text(json.dumps(recipe))
    command, log = [verb, "recipe.yaml"], Path("log.txt")
    folder, calm = Path(recipe["output_dir"]), Path("calm")
    whole(command, log, lambda: Path("modules.json").write_text(json.dumps(list(sys.modules))))
    for name in json.loads(Path("modules.json").read_text()):
        with suppress(Exception):  # of a program that was run, or a plug-in of one
            importlib.import_module(name)
    expected = remains(folder)
    folder.rename(calm)
    lifetime = whole(command, log)
    draw, told, runs = random.Random(seed), [], 0
    different = {"undisturbed": differences(remains(folder), expected)}
    lines = records(folder)
    shutil.rmtree(folder)
    while len(told) < kills and runs < 3 * kills:  # those that ended before their instants too
        instants = []
        for more in ([], ["--resume"]):
            so_far = records(folder) / lines if more else 0.0
            by_time, into = so_far > 0.9 or draw.random() < 0.5, draw.random() < 0.5
            at = draw.uniform(0.02, 0.6 if more else 0.98) if by_time else draw.uniform(so_far, 1)

            def ready(now: float, at: float = at, t: bool = by_time, into: bool = into) -> bool:
                reached = now >= at * lifetime if t else records(folder) >= at * lines
                return reached and (t or not into or aside(folder))

            if len(told) < kills and killed([*command, *more], log, ready):
                unit = f"of the records{' in a write' if into else ''}"
                instants.append(f"{at:.2f} {'of the time' if by_time else unit}")
                told.append(f"{instants[-1]}: {progress(folder)}")
        whole([*command, "--resume"], log)
        runs += 1
        if found := differences(remains(folder), expected):
            different[" then ".join(instants)] = found
            shutil.copytree(folder, f"different-{runs}")
        shutil.rmtree(folder)
    shutil.rmtree(calm)
    different = {name: found for name, found in different.items() if found}
    return {"kills": told, "runs": runs, "lifetime": lifetime, "different": different}


if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())
    print(json.dumps([test(**job) for job in json.load(sys.stdin)]))
