"""A file's bytes, lines or text: unzipped, without byte order mark, and UTF-8 or an error."""

import gzip
import zlib
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path

from luce.errors import DataError

BOM = b"\xef\xbb\xbf"


def open_bytes(path: Path) -> BufferedIOBase:
    """The file's bytes, unzipped where its name ends in `.gz`."""
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else open(path, "rb")


def raw_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, each with its newline; only `\\n` ends a line."""
    try:
        with open_bytes(path) as stream:
            for number, line in enumerate(stream):
                yield line.removeprefix(BOM) if number == 0 else line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: damaged gzip file: {error}.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from error


def read_text(path: Path) -> str:
    """The whole text of a file; `DataError` with line and byte where it is not UTF-8."""
    raw = b"".join(raw_lines(path))
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{line}: byte {error.start + 1} of the file (0x{raw[error.start]:02x}) is not "
            "UTF-8. Save the file as UTF-8."
        ) from error
