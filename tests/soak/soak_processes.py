"""Processes that are watched and killed: start, signal, end, and the memory they hold."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
GRACE_S = 900.0
"""A process that was asked to end and has not after so long is a fault of its own."""
ENDS = {
    signal.SIGKILL: {-signal.SIGKILL},
    signal.SIGTERM: {-signal.SIGTERM, 128 + signal.SIGTERM},
    signal.SIGINT: {-signal.SIGINT, 128 + signal.SIGINT},
}
"""How a process may end after a signal. 0 as well, where it was at its end already."""


class Ledger:
    """A file of events, a line each, in the order of their happening; for several threads."""

    def __init__(self, path: Path):
        self.stream = open(path, "a", buffering=1)  # noqa: SIM115 - open for the whole soak
        self.lock, self.started = threading.Lock(), time.monotonic()

    def tell(self, event: str, **facts: Any) -> None:
        line = json.dumps({"t": round(time.monotonic() - self.started, 3), "event": event} | facts)
        with self.lock:
            self.stream.write(line + "\n")


class Silent(Ledger):
    """A ledger that writes nothing: what is checked again has its lines already."""

    def __init__(self) -> None:
        super().__init__(Path(os.devnull))


class Process:
    """A command in a folder; its output is appended to `log` there.

    Attributes:
        peak_kib: the largest resident set, by the kernel's account at the end.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, out: Path | None = None, idle: bool = False
    ):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.started, self.peak_kib = folder, time.monotonic(), 0
        self.code: int | None = None
        variables = {"OMP_NUM_THREADS": "1", "SOAK_ROWS": str(folder / "rows-noted.jsonl")}
        self.log = folder / "log"
        with open(self.log, "ab") as log, open(out or self.log, "wb" if out else "ab") as told:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=told, stderr=log, cwd=folder,
                env=os.environ | variables,
            )  # fmt: skip
        if idle:  # it takes only what nobody else wants
            os.sched_setscheduler(self.process.pid, os.SCHED_IDLE, os.sched_param(0))

    @property
    def pid(self) -> int:
        return self.process.pid

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        if self.code is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
                self.process.returncode = self.code
                self.peak_kib = usage.ru_maxrss
        return self.code

    def wait(self, timeout_s: float = GRACE_S) -> int:
        """The exit code; a process that does not end is killed, and that raises."""
        until = time.monotonic() + timeout_s
        while (code := self.poll()) is None:
            if time.monotonic() > until:
                self.signal(signal.SIGKILL)
                raise TimeoutError(f"{self.folder}: the process does not end; see {self.log}")
            time.sleep(0.02)
        return code

    def signal(self, number: int) -> None:
        if self.poll() is None:  # not `Popen.send_signal`, which may take the exit code for itself
            os.kill(self.pid, number)

    def cpu_s(self) -> float:
        """Processor seconds so far: they tell how far it is on a machine that is shared."""
        try:
            parts = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(parts[11]) + int(parts[12])) / TICKS

    def memory_kib(self) -> tuple[int, int] | None:
        """Resident set now and at its largest; None where it has ended."""
        try:
            text = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return None
        found = {}
        for line in text.splitlines():
            name, _, value = line.partition(":")
            if name in ("VmRSS", "VmHWM"):
                found[name] = int(value.split()[0])
        return (found["VmRSS"], found["VmHWM"]) if len(found) == 2 else None


class Watch(threading.Thread):
    """Writes the memory of all processes that are alive to a file, every second."""

    def __init__(self, path: Path, ledger: Ledger, period_s: float = 1.0):
        super().__init__(daemon=True)
        self.path, self.ledger, self.period_s = path, ledger, period_s
        self.alive: dict[Process, str] = {}
        self.stop = threading.Event()

    def add(self, process: Process, name: str) -> Process:
        self.alive[process] = name
        return process

    def run(self) -> None:
        with open(self.path, "a", buffering=1) as stream:
            while not self.stop.wait(self.period_s):
                now = time.monotonic() - self.ledger.started
                for process, name in list(self.alive.items()):
                    found = None if process.code is not None else process.memory_kib()
                    if process.code is not None:
                        self.alive.pop(process, None)
                    if found is not None:
                        facts = {
                            "name": name,
                            "pid": process.pid,
                            "rss": found[0],
                            "peak": found[1],
                        }
                        stream.write(json.dumps({"t": round(now, 2)} | facts) + "\n")


def progress(folder: Path) -> int:
    """Files of a run and lines of its metrics: grows with whatever the run does."""
    count = 0
    for path in folder.rglob("*") if folder.exists() else ():
        count += 1
        if path.name == "metrics.jsonl":
            try:
                count += path.read_bytes().count(b"\n")
            except OSError:  # it is being replaced
                continue
    return count


def last_step(folder: Path) -> int:
    """The last step in the log of a run's metrics, or of its newest round; 0 without any."""
    paths = sorted((folder / "run").glob("rounds/*/train/metrics.jsonl"))
    steps = 0
    for path in [folder / "run" / "metrics.jsonl", *paths[-1:]]:
        text = path.read_text().splitlines() if path.exists() else []
        for line in text:
            try:
                steps = max(steps, json.loads(line)["step"])
            except json.JSONDecodeError:  # torn by a kill: the resume cuts it off
                continue
    return steps


def run_until(process: Process, ready: Callable[[], bool], number: int) -> dict[str, Any] | None:
    """Signal a process once `ready()`; how it ended, or None where it was over before."""
    while process.poll() is None:
        if ready():
            facts = {"signal": signal.Signals(number).name, "cpu_s": process.cpu_s()}
            process.signal(number)
            code = process.wait()
            return facts | {"code": code, "lived_s": round(time.monotonic() - process.started, 2)}
        time.sleep(0.02)
    return None


def fair(code: int, signal_name: str | None) -> bool:
    """Whether a process may end like this, after that signal or without any."""
    if code == 0 or signal_name is None:
        return code == 0
    return code in ENDS[signal.Signals[signal_name]]


def facts_of(process: Process) -> Mapping[str, Any]:
    return {"pid": process.pid, "code": process.code, "peak_mib": round(process.peak_kib / 1024, 1)}
