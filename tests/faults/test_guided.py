"""The fuzzer that is led by coverage finds what is wrong, and says so."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from guided import ENVIRONMENT, main, names

HERE = Path(__file__).parent
PROPERTY = """
from hypothesis import given, strategies as st

def examine(property, examples):
    raise AssertionError("not fuzzed")

def test_it():
    @given(st.integers(0, 1000))
    def property(n):
        assert n {right}
    examine(property, 1)
"""
RUN = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
import guided
guided.FUZZ = Path({file!r})
raise SystemExit(guided.fuzz("test_it", 5, Path({corpus!r})))
"""


def test_every_property_is_named() -> None:
    import test_fuzz

    assert names() == [name for name in vars(test_fuzz) if name.startswith("test_")]
    with pytest.raises(SystemExit):
        main(["test_of_nothing"])


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
@pytest.mark.parametrize(("right", "code"), [("< 500", 77), ("<= 1000", 0)])
def test_what_is_wrong_is_found(tmp_path: Path, right: str, code: int) -> None:
    file, corpus = tmp_path / "test_some.py", tmp_path / "corpus" / "it"
    file.write_text(PROPERTY.format(right=right))
    run = RUN.format(here=str(HERE), file=str(file), corpus=str(corpus))
    environment = os.environ | ENVIRONMENT
    done = subprocess.run(
        [sys.executable, "-c", run], cwd=HERE.parents[1], capture_output=True, env=environment
    )
    assert done.returncode == code, done.stderr.decode(errors="replace")[-2000:]
    assert bool(list(corpus.parent.glob("failed-*"))) == bool(code)
