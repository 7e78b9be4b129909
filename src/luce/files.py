"""Files that are whole or absent: atomic writes, content hashes, canonical JSON."""

import hashlib
import json
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def sha256_file(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def canonical_json(value: Any) -> str:
    """One text per value: sorted keys, no spaces; what fingerprints are taken of.

    >>> canonical_json({"b": 1, "a": [0.1]})
    '{"a":[0.1],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def fingerprint(value: Any) -> str:
    """sha256 of the canonical JSON of a plain value."""
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()


def fsync_folder(folder: Path) -> None:
    """Make renames and new names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write beside the target, fsync, rename: readers see the old file or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # hosts that share a folder may have processes of the same number
    aside = path.with_name(f".{path.name}.partial-{platform.node()}-{os.getpid()}")
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    try:
        with open(aside, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(aside, path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        error.filename = error.filename or str(path)  # a write that failed does not name the file
        raise
    fsync_folder(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Take away what `write_atomic` was writing in a folder, and below, when its process was
    killed. Files of processes that are alive stay, and those of other hosts."""
    mark = f".partial-{platform.node()}-"
    for path in list(folder.rglob(f".*{mark}*")):
        pid = path.name.rpartition(mark)[2]
        if pid.isdecimal() and not _writing(int(pid)):
            path.unlink(missing_ok=True)


def _writing(pid: int) -> bool:
    """Whether another process has this number. One that had ours before has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return pid != os.getpid()


def write_json(path: Path, value: Any) -> None:
    """`write_atomic` of indented JSON."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def lines_of(text: str) -> list[str]:
    """The lines of a .jsonl file that are not empty.

    Only a newline ends one. A text within may hold what else `str.splitlines` takes for an end
    (U+0085, U+2028 …), for JSON leaves these as they are.

    >>> lines_of('{"a": "\\x85"}\\n\\n{"a": 1}\\n')
    ['{"a": "\\x85"}', '{"a": 1}']
    """
    return [line for line in text.split("\n") if line]


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The records of a file that `write_jsonl` has written."""
    return [json.loads(line) for line in lines_of(path.read_text("utf-8", "surrogatepass"))]


def write_jsonl(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """`write_atomic` of one JSON object a line."""
    write_atomic(path, "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records))
