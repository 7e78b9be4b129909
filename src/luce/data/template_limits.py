"""What a chat template may take: so many seconds, and so many characters of output.

A template is a program that comes with a model. The sandbox keeps it from the machine; these limits
keep it from going on for ever and from filling the memory.
"""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment

from luce.errors import ModelError
from luce.types import Place

ROOM = 1_000_000
"""Characters that any row may be rendered to."""

TIMES = 20
"""A row may be rendered to so many times its own characters besides."""


class StuckTemplate(ModelError):
    """A chat template that took too long. It is asked no more: every row might take as long.

    Attributes:
        detail: what is wrong with it.
    """

    def __init__(self, detail: str, place: Place | None = None) -> None:
        self.detail = detail
        super().__init__(detail if place is None else f"{place}: {detail}")

    def at(self, place: Place) -> "StuckTemplate":
        """The same, found at a row."""
        return StuckTemplate(self.detail, place)


class TooLong(Exception):
    """A rendering beyond its number of characters."""


@contextmanager
def limited(seconds: float, characters: int) -> Iterator[None]:
    """Raise TimeoutError in the body after so long, and TooLong where a template of the sandbox
    writes more than so many characters.

    The time limit works in the main thread of a Unix process whose alarm clock is free; elsewhere
    the body has no limit but the sandbox's own. Text that a template keeps in a variable counts
    when it is written.
    """
    with _RENDERING, _few(characters), _soon(seconds):
        yield


_RENDERING = threading.RLock()
"""One thread renders at a time: the limit of characters is set where all templates read it."""


def _ring(signum: int, frame: Any) -> None:
    raise TimeoutError


@contextmanager
def _soon(seconds: float) -> Iterator[None]:
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or not hasattr(signal, "setitimer") or signal.getitimer(signal.ITIMER_REAL)[0]:
        yield
        return

    before = signal.signal(signal.SIGALRM, _ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _few(characters: int) -> Iterator[None]:
    # a template joins the pieces that it writes by `concat` of its environment
    sandbox: Any = ImmutableSandboxedEnvironment
    before = sandbox.concat
    sandbox.concat = staticmethod(_counting(before, characters))
    try:
        yield
    finally:
        sandbox.concat = before


def _counting(join: Callable[[Iterable[str]], str], most: int) -> Callable[[Iterable[str]], str]:
    def counted(pieces: Iterable[str]) -> Iterator[str]:
        written = 0
        for piece in pieces:
            written += len(piece)
            if written > most:
                raise TooLong
            yield piece

    return lambda pieces: join(counted(pieces))
