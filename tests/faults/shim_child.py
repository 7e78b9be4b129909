"""Runs of the toy model under `shim.c`, each in a fork of this process: one goes wrong at some file
operation, the next one resumes it.

    LD_PRELOAD=shim.so FAULT_FOLDER=… python shim_child.py MODE FIRST LAST EVERY RESULTS

MODE 0 counts: one run, whose operations go to FAULT_LOG. RESULTS gets a JSON line for each run.
"""

import ctypes
import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

from luce.errors import LuceError
from luce.train.checkpoint import latest_checkpoint

CHILD = Path(__file__).resolve().parents[1] / "train" / "child.py"
spec = importlib.util.spec_from_file_location("toy_child", CHILD)
toy_child = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toy_child)

SHIM = ctypes.CDLL(None)
FOLDER = Path(os.environ["FAULT_FOLDER"])


def run(mode: int, number: int, said: Path) -> tuple[int, int]:
    """A run in a fork: its exit code (-9 where it was killed), and the operations it counted."""
    counted, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 0
        SHIM.fault_arm(mode, number)
        try:
            toy_child.main(FOLDER, None)
        except LuceError as error:
            said.write_text(str(error))
            code = 2
        except BaseException as error:
            said.write_text(f"{type(error).__name__}: {error}")
            code = 1
        os.write(told, str(SHIM.fault_count()).encode())
        os._exit(code)
    os.close(told)
    count = os.read(counted, 20)
    os.close(counted)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), int(count or b"0")


def result() -> list[str]:
    """What a run left: step, weights, metrics."""
    found, damaged = latest_checkpoint(FOLDER / "checkpoints")
    assert found is not None and damaged == []
    weights = (found.path / "weights.safetensors").read_bytes().hex()
    return [str(found.step), weights, (FOLDER / "metrics.jsonl").read_text()]


def main(mode: int, first: int, last: int, every: int, results: Path) -> None:
    said = results.with_name("said.txt")
    code, count = run(0, 0, said)
    assert code == 0, said.read_text()
    calm = result()
    with open(results, "w") as stream:
        print(json.dumps({"operations": count}), file=stream)
        for number in range(first, min(last, count) + 1, every) if mode else ():
            shutil.rmtree(FOLDER)
            said.unlink(missing_ok=True)
            code, _ = run(mode, number, said)
            word = said.read_text() if said.exists() else ""
            kept = sorted(p.name for p in (FOLDER / "checkpoints").glob("step-*"))
            again, _ = run(0, 0, said)
            same = again == 0 and result() == calm
            record = {"number": number, "code": code, "said": word, "kept": kept, "same": same}
            print(json.dumps(record), file=stream, flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:5]), Path(sys.argv[5]))
