"""What no file of the package may hold: unfinished work, and ways to run a stranger's code."""

import ast
import re

import pytest

UNFINISHED = re.compile(r"NotImplementedError|\bTODO\b|\bFIXME\b|\bXXX\b")
PLANTED = [
    "import pickle",
    "from pickle import loads",
    "import dill, shelve",
    "import torch\ntorch.load('x')",
    "from torch import load",
    "eval('1')",
    "exec('1')",
    "import os\nos.system('ls')",
    "import subprocess\nsubprocess.run('ls', shell=True)",
    "import yaml\nyaml.load(text, Loader=yaml.Loader)",
    "import yaml\nyaml.unsafe_load(text)",
    "model.from_pretrained('x', trust_remote_code=True)",
]
PICKLES = {"pickle", "dill", "shelve", "cloudpickle", "joblib", "marshal"}
CALLS = {"eval", "exec", "os.system", "os.popen", "torch.load", "yaml.load", "yaml.load_all"}
CALLS |= {"yaml.unsafe_load", "yaml.full_load", "numpy.load", "np.load"}


def dangers(code: str) -> list[str]:
    """`line: what` for every call or import that could run code out of a file."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names = {alias.name.split(".")[0] for alias in node.names}
            found += [f"{node.lineno}: import {name}" for name in names & PICKLES]
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found += [f"{node.lineno}: {name}" for name in names & CALLS]
            if (node.module or "").split(".")[0] in PICKLES:
                found.append(f"{node.lineno}: from {node.module}")
        elif isinstance(node, ast.Call):
            if (name := ast.unparse(node.func)) in CALLS:
                found.append(f"{node.lineno}: {name}")
            for keyword in node.keywords:
                on = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
                if on and keyword.arg in ("shell", "trust_remote_code", "allow_pickle"):
                    found.append(f"{node.lineno}: {keyword.arg}=True")
    return found


def test_nothing_in_the_package_is_unfinished(sources, root):
    for path in sources:
        if root / "src" in path.parents:
            words = UNFINISHED.findall(path.read_text())
            assert not words, f"{path}: {words}"


def test_nothing_in_the_package_runs_code_out_of_a_file(sources, root):
    for path in sources:
        if root / "src" in path.parents:
            assert dangers(path.read_text()) == [], path


@pytest.mark.parametrize("code", PLANTED)
def test_each_danger_is_seen(code):
    assert dangers(code)
