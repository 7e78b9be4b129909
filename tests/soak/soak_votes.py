"""People who vote on a page whose server is killed under them."""

import http.client
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "annotate" / "server"))

from annotation_client import Browser  # noqa: E402  # pyright: ignore[reportMissingImports]
from soak_processes import Ledger, Process  # noqa: E402

LOST = (OSError, http.client.HTTPException)
"""What a client hears of a server that is killed."""


def serve(folder: Path, tasks: Path, port: int, command: list[str]) -> tuple[Process, int]:
    """`luce annotate` on the store of a folder, and its port, once the page can be reached."""
    arguments = ["annotate", str(tasks), "--overlap", "2", "--port", str(port)]
    link = folder / "link"
    link.unlink(missing_ok=True)
    process = Process([*command, *arguments], folder, out=link)
    until = time.monotonic() + 900
    while not (text := link.read_text()).endswith("\n"):
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"{folder}: the page is not served; see {process.log}")
        time.sleep(0.05)
    return process, int(text.strip().rsplit(": ")[-1].split(":")[2].split("/")[0])


class Person(threading.Thread):
    """Somebody who judges all there is and asks again for what is lost on the way: the text that
    ends politely is better. `pause_s` between votes.

    Attributes:
        heard: prompts whose vote the server called saved.
        failed: what ended this person before there was nothing left.
    """

    def __init__(self, port: int, name: str, ledger: Ledger, work: str, pause_s: float = 0.0):
        super().__init__(daemon=True)
        self.browser, self.name, self.pause_s = Browser(port), name, pause_s
        self.ledger, self.work = ledger, work
        self.heard: list[str] = []
        self.failed: Exception | None = None
        self.enough = threading.Event()

    def insist(self, ask: Callable[[], Any]) -> Any:
        until = time.monotonic() + 1800
        while True:
            try:
                return ask()
            except LOST:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)

    def run(self) -> None:
        try:
            reply = self.insist(lambda: self.browser.sign_in(self.name))
            assert reply.status == 200, reply
            while not self.enough.is_set() and self._vote():
                self.enough.wait(self.pause_s)
        except Exception as error:
            self.failed = error
        finally:
            self.browser.close()

    def _vote(self) -> bool:
        task = self.insist(self.browser.next)["task"]
        if task is None:
            return False
        texts = [response["text"] for response in task["responses"]]
        first = texts[0].endswith("thanks")
        key, ranks = f"{self.name}-{len(self.heard):016d}", (1, 2) if first else (2, 1)
        reply = self.insist(lambda: self.browser.vote(task["number"], key, ranks))
        assert reply.status == 200 and reply.json["saved"], reply
        prompt = asked(task)
        self.heard.append(prompt)
        self.ledger.tell(
            "vote", work=self.work, person=self.name, prompt=prompt, again=reply.json["repeated"]
        )
        return True


def asked(task: dict[str, Any]) -> str:
    """The prompt of a task as the page shows it."""
    prompt = task["prompt"]
    return prompt[-1]["text"]


def votes_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
