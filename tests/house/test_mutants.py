"""The mutation check reports what no test sees, and only that: tried on a package of two lines."""

import importlib.util
import subprocess
import sys

import pytest

SOURCE = '''"""A docstring, 1 − 2."""

SCALE = 3


def cost(z: float, slope: float = 0.5) -> float:
    return -slope * z + 0 * max(z, 1)


def taken(rows: list) -> bool:
    if not rows:
        raise ValueError(f"{1 - 2} rows")
    return True
'''
TESTS = """import pytest
from toy.sums import SCALE, cost, taken


def test_cost():
    assert cost(2.0) == -1.0 and cost(2.0, 1.0) == -2.0 and SCALE == 3


def test_taken():
    assert taken([1]) is True
    with pytest.raises(ValueError):
        taken([])
"""
SURVIVORS = [
    ("return -slope * z + 0 * max(z, 1)", "return -slope * z - 0 * max(z, 1)"),
    ("return -slope * z + 0 * max(z, 1)", "return -slope * z + 0 / max(z, 1)"),
    ("return -slope * z + 0 * max(z, 1)", "return -slope * z + 0 * min(z, 1)"),
    ("return -slope * z + 0 * max(z, 1)", "return -slope * z + 0 * max(z, 2)"),
]
ENTRY = "[[equivalent]]\nfile = 'sums.py'\nbefore = '{}'\nafter = '{}'\nreason = '0 times it'\n"


@pytest.fixture(scope="module")
def edits(root):
    path = root / "tests" / "mutation" / "edits.py"
    spec = importlib.util.spec_from_file_location("mutation_edits", path)
    sys.modules["mutation_edits"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def toy(tmp_path):
    for folder in ("src/toy", "tests"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "src/toy/__init__.py").touch()
    (tmp_path / "src/toy/sums.py").write_text(SOURCE)
    (tmp_path / "tests/test_sums.py").write_text(TESTS)
    return tmp_path


def check(root, toy, *more: str) -> tuple[int, list[str]]:
    places = ["--root", str(toy), "--sources", "src/toy", "--tests", "tests"]
    found = subprocess.run(
        [sys.executable, str(root / "tests" / "mutants.py"), *places, "--jobs", "2", *more],
        capture_output=True,
        text=True,
    )
    assert not found.stderr, found.stderr
    return found.returncode, found.stdout.splitlines()


def test_survivors_are_reported_and_nothing_else(root, toy, edits):
    status, lines = check(root, toy)
    assert status == 1
    expected = {f"survived: sums.py:7: {before}  ->  {after}" for before, after in SURVIVORS}
    assert {line for line in lines if line.startswith("survived")} == expected
    mutants = len(edits.mutations(SOURCE))
    assert lines[-1] == (
        f"{mutants} mutants: 4 survived, 0 known to be equivalent, {mutants - 4} caught."
    )
    assert (toy / "src/toy/sums.py").read_text() == SOURCE


def test_only_earlier_survivors_are_tried_again(root, toy):
    lines = [f"survived: sums.py:3: {before}  ->  {after}" for before, after in SURVIVORS[:2]]
    (toy / "earlier.txt").write_text("\n".join([*lines, "sums.py: 9 mutants, 2 survived"]))
    _, lines = check(root, toy, "--again", str(toy / "earlier.txt"))
    assert lines[-1] == "2 mutants: 2 survived, 0 known to be equivalent, 0 caught."


def test_mutants_listed_as_equivalent_pass_and_idle_entries_do_not(root, toy):
    entries = [ENTRY.format(before, after) for before, after in SURVIVORS]
    (toy / "list.toml").write_text("".join(entries))
    status, lines = check(root, toy, "--equivalent", "list.toml")
    assert status == 0 and "0 survived, 4 known to be equivalent" in lines[-1]
    for idle, how in (("SCALE = 3", ["--recheck"]), ("SCALE = 2", [])):
        written = "".join([*entries, ENTRY.format(idle, "SCALE = 4")])
        (toy / "list.toml").write_text(written)
        status, lines = check(root, toy, "--equivalent", "list.toml", *how)
        assert status == 1
        assert f"no survivor, yet in list.toml: sums.py: {idle}  ->  SCALE = 4" in lines


def test_a_mutant_that_does_not_end_is_stopped(root, toy):
    (toy / "src/toy/sums.py").write_text("def down(n):\n    while n > 0:\n        n -= 1\n")
    (toy / "tests/test_sums.py").write_text(
        "from toy.sums import down\n\n\ndef test():\n    assert down(3) is None\n"
    )
    _, lines = check(root, toy, "--timeout", "3")
    assert "timed out (counted as caught): sums.py:3: n -= 1  ->  n += 1" in lines


def test_tests_that_fail_by_themselves_say_nothing(root, toy):
    (toy / "tests/test_sums.py").write_text("def test():\n    assert False\n")
    status, lines = check(root, toy)
    assert status == 2 and lines[-1].startswith("The tests do not pass as they are")


MUTATED = {
    "y = -(x)": ["y = (x)"],
    "y = not x": ["y = x"],
    "y = a - (  # why - \n    b)": ["y = a + (  # why - \n    b)"],
    "y = σ + 0.1": ["y = σ - 0.1", "y = σ + 0.2"],
    "y = a < b": ["y = a <= b", "y = a > b"],
    "y = a == b >= c": ["y = a != b >= c", "y = a == b > c", "y = a == b <= c"],
    "y = a is not b and c": ["y = a is b and c", "y = a is not b or c"],
    "y = a not in b": ["y = a in b"],
    "y = (a * b).detach().exp()": ["y = (a / b).detach().exp()", "y = (a * b).exp()"],
    "y = torch.maximum(a, b)": ["y = torch.minimum(a, b)"],
    "y = x.clamp(min=a)": ["y = x.clamp(max=a)"],
    "y = x.clamp(min=a, max=b)": [],
    "y = p.chosen.policy": ["y = p.rejected.policy", "y = p.chosen.reference"],
    "y = policy": [],
    "y += x": ["y -= x"],
    "y = 0": ["y = 1"],
    "y = 1, 2": ["y = 2, 2", "y = 1, 3"],
    "y = 0.5, 1.0": ["y = 1.0, 1.0", "y = 0.5, 2.0"],
    "y = 1e-4": ["y = 0.0002"],
    "f = lambda z: z": ["f = lambda z: -(z)"],
    "f = lambda z: f'{1 - z}' + 'a' + z": [],
    "def f(x: T['2 - 1'] = True) -> T[1]: return x": [
        "def f(x: T['2 - 1'] = False) -> T[1]: return x",
        "def f(x: T['2 - 1'] = True) -> T[1]: return -(x)",
    ],
    "@d(1)\nclass C:\n    '1 - 2'\n    A: TypeAlias = T[1]\n    n: int = 1": [
        "@d(1)\nclass C:\n    '1 - 2'\n    A: TypeAlias = T[1]\n    n: int = 2"
    ],
    "def f() -> bool: return g": [],
    "if x:\n    raise E(1 - 2)": [],
}


@pytest.mark.parametrize("before", MUTATED)
def test_what_is_mutated(before, edits):
    found = [mutation.apply(before) for mutation in edits.mutations(before)]
    assert sorted(found) == sorted(MUTATED[before])
