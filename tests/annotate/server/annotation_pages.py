"""A page served for tests: in a thread of this process, or by the command in one of its own."""

import os
import select
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from annotation_client import OPENED

from luce.annotate.server import Store, Task
from luce.annotate.server.api import Door
from luce.annotate.server.keys import Keys
from luce.annotate.server.listen import listen
from luce.annotate.server.serve import server_on


def tasks(n: int) -> list[Task]:
    """Tasks whose better response is the second, by a model whose name must not be seen."""
    return [
        Task(
            f"Question {i}?",
            (f"Wrong answer {i}.", f"Right answer {i}, at length."),
            ("model-canary-one", "model-canary-two"),
            id=f"t{i}",
        )
        for i in range(n)
    ]


@contextmanager
def served(store: Store, door: Door | None = None):
    """The port of a page served in a thread."""
    bound = listen("127.0.0.1", 0)
    keys = Keys.beside(store.database.path)
    server = server_on(bound, store, keys, door or Door())
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield bound.getsockname()[1]
    finally:
        while OPENED:
            OPENED.pop().close()
        server.should_exit = True
        thread.join(20)
        bound.close()
        assert not thread.is_alive()


class Served:
    """The command itself, in a process that may be killed."""

    def __init__(self, store: Path, *arguments: str, port: int = 0):
        code = "import sys; from luce.cli.main import main; sys.argv[0] = 'luce'; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "annotate", "--store", str(store)]
            + ["--port", str(port), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], 180)
        self.link = self.process.stdout.readline().strip() if ready else ""
        if not self.link:
            self.process.kill()
            raise AssertionError(self.process.communicate()[1])
        self.port = int(self.link.rsplit(": ")[-1].split(":")[2].split("/")[0])

    def kill(self) -> None:
        """End it as a loss of power would."""
        self.process.kill()
        self.process.communicate()
