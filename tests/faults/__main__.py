"""`python -m tests.faults [PAGE] [pytest arguments]`: run the suite, slow tests too, and write
docs/faults.md out of what it reports."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from fault_table import Collector, write  # noqa: E402

PAGE = HERE.parents[1] / "docs" / "faults.md"


def main(arguments: list[str]) -> int:
    """The exit code of pytest; the page is written where every test passed."""
    path = Path(arguments.pop(0)) if arguments and arguments[0].endswith(".md") else PAGE
    collector = Collector()
    ignored = f"--ignore={HERE / 'test_page.py'}"  # it reads the page that is to be written
    given = [str(HERE), "-m", "", "-q", ignored, *arguments]
    code = int(pytest.main(given, plugins=[collector]))
    if code == 0 or path != PAGE:
        write(collector, path)
        print(f"{path}: {len(collector.lines)} faults")
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
