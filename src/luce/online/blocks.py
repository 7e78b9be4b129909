"""Work in blocks that any number of processes share through a folder, on one host or several.

A block's rows appear whole under their name or not at all, so a block is done when its file is
there. Who works on one holds a lease, a file that is touched while the work goes on; the lease of a
process that has died is taken over. Two processes that work on the same block all the same (one was
thought dead) write the same rows, since what they write follows from the block's number alone.

Once all blocks have become one file beside the folder, nothing is missing, and the folder may be
taken away under a process that was late.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from luce.errors import LuceError
from luce.files import read_jsonl, write_jsonl

Make: TypeAlias = Callable[[int], Sequence[dict[str, Any]]]

LEASE = 60.0
"""Seconds after which an untouched lease is taken to be a dead process's."""


@dataclass
class Blocks:
    """`count` blocks in a folder.

    Attributes:
        folder: where they lie; all processes see it.
        count: how many there are.
        lease: seconds, see `LEASE`.
    """

    folder: Path
    count: int
    lease: float = LEASE
    _owner: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def whole(self) -> Path:
        """The file of all blocks, beside the folder."""
        return self.folder.with_name(f"{self.folder.name}.jsonl")

    def missing(self) -> list[int]:
        """The blocks that are not done, in order."""
        there: set[str] = set()
        with suppress(FileNotFoundError):
            there = set(os.listdir(self.folder))
        if self.whole.exists():  # asked last: blocks are taken away only where it is there
            return []
        return [i for i in range(self.count) if self._file(i).name not in there]

    def work(
        self,
        make: Make,
        *,
        wait: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Do what is missing, and wait until the others' blocks are done too.

        Args:
            make: the rows of a block.
            wait: False returns when nothing is free, though others may still work.
            progress: called with (blocks done, blocks in all) after each of ours.

        Returns how many blocks this process did.
        """
        for block in range(self.count):
            if not self._sound(block):
                # cut by something else than this program: made again
                self._file(block).unlink(missing_ok=True)
        done = 0
        while left := self.missing():
            self.folder.mkdir(parents=True, exist_ok=True)
            for block in left:
                with self._claimed(block) as mine:
                    if mine and block in self.missing():
                        self.write(block, make(block))
                        done += 1
                        if progress is not None:
                            progress(self.count - len(self.missing()), self.count)
                if mine:
                    break
            else:
                if not wait:
                    break
                time.sleep(min(1.0, self.lease / 10))
        return done

    def write(self, block: int, rows: Sequence[dict[str, Any]]) -> None:
        """Put a block's rows under its name, whole."""
        write_jsonl(self._file(block), rows)

    def rows(self) -> list[dict[str, Any]]:
        """The rows of all blocks, in order.

        Raises:
            LuceError: a block is missing.
        """
        if left := self.missing():
            raise LuceError(f"{self._file(left[0])}: missing. Resume the run that writes it.")
        return [row for block in range(self.count) for row in self.rows_of(block)]

    def rows_of(self, block: int) -> list[dict[str, Any]]:
        """The rows of a block that is done.

        Raises:
            FileNotFoundError: it is not, or all blocks have become one file.
        """
        return read_jsonl(self._file(block))

    def _sound(self, block: int) -> bool:
        """Whether a block's file is whole lines of JSON, or not there."""
        try:
            self.rows_of(block)
            return self._file(block).read_bytes().endswith(b"\n")
        except FileNotFoundError:
            return True
        except ValueError:
            return False

    def _file(self, block: int) -> Path:
        return self.folder / f"block-{block:06d}.jsonl"

    @contextmanager
    def _claimed(self, block: int) -> Iterator[bool]:
        """Hold the lease of a block, or False where another process does."""
        place = self.folder / f"block-{block:06d}.lease"
        if not self._take(place):
            yield False
            return
        stop = threading.Event()
        touching = threading.Thread(target=self._touch, args=(place, stop), daemon=True)
        touching.start()
        try:
            yield True
        finally:
            stop.set()
            touching.join()
            if self._holder(place).get("owner") == self._owner:
                place.unlink(missing_ok=True)

    def _take(self, place: Path) -> bool:
        me = {"owner": self._owner, "host": socket.gethostname(), "pid": os.getpid()}
        if place.exists() and self._dead(place):
            # only one of those who see that it is dead can move it away
            grave = place.with_suffix(f".{uuid.uuid4().hex}")
            try:
                place.rename(grave)
            except FileNotFoundError:
                return False
            grave.unlink(missing_ok=True)
        try:
            with open(place, "x", encoding="utf-8") as stream:
                json.dump(me, stream)
        except (FileExistsError, FileNotFoundError):  # another's, or all is done
            return False
        return True

    def _dead(self, place: Path) -> bool:
        holder = self._holder(place)
        if holder.get("host") == socket.gethostname() and isinstance(holder.get("pid"), int):
            return not _alive(holder["pid"])
        try:
            # by the clock of the file system, which the hosts share
            clock = self.folder / f".clock-{self._owner}"
            clock.touch()
            now = clock.stat().st_mtime
            clock.unlink(missing_ok=True)
            return now - place.stat().st_mtime > self.lease
        except FileNotFoundError:
            return False

    @staticmethod
    def _holder(place: Path) -> dict[str, Any]:
        try:
            return json.loads(place.read_text("utf-8"))
        except (FileNotFoundError, ValueError):  # gone, or being written
            return {}

    def _touch(self, place: Path, stop: threading.Event) -> None:
        while not stop.wait(self.lease / 4):
            with suppress(FileNotFoundError):
                os.utime(place)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
