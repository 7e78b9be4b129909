"""What the README and the other pages show works: commands, recipes, code, links, errors."""

import ast
import json
import re
import shlex
from pathlib import Path

import pytest

import luce
from luce.cli.main import COMMANDS, build_app, run
from luce.errors import LuceError
from luce.recipe.explain import leaves
from luce.recipe.load import load_recipe
from luce.recipe.yaml12 import parse_yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs").glob("*/*.md")),
]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S)


def commands(page: Path) -> list[list[str]]:
    lines = [line for block in blocks(page, "console") for line in block.splitlines()]
    shown = [line[2:] for line in lines if line.startswith("$ ")]
    return [shlex.split(line, comments=True) for line in shown]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_to_a_file(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http://", "https://", "#")):
            assert (page.parent / target.split("#")[0]).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_exists_and_takes_what_is_shown(page):
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.M))
    for words in commands(page):
        if words[0] == "make":
            assert words[1] in targets, words
        elif words[0] == "luce":
            assert words[1] in (*COMMANDS, "--install-completion"), words
            _, bound, *_ = build_app().parse_args(words[1:], exit_on_error=False, print_error=False)
            assert bound.arguments is not None


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_recipe_key_on_a_shown_command_line_is_a_key(page):
    for words in commands(page):
        if words[:2] == ["luce", "train"]:
            overrides = [word for word in words[3:] if "=" in word and not word.startswith("-")]
            load_recipe({"model": "m", "data": "d", "objective": "dpo"}, overrides)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_block_of_json_yaml_and_python_can_be_read(page):
    for block in blocks(page, "json"):
        for line in block.splitlines():
            json.loads(line)
    for block in blocks(page, "yaml"):
        parse_yaml(block, page.name)
    for block in blocks(page, "python"):
        ast.parse(block)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_public_name_in_a_block_of_python_is_there(page):
    for block in blocks(page, "python"):
        for name in re.findall(r"\bluce\.(\w+)", block):
            assert getattr(luce, name) is not None


def test_the_recipes_of_the_readme_load():
    for block in blocks(ROOT / "README.md", "yaml"):
        assert load_recipe(parse_yaml(block, "README.md").value).recipe.model.path


def test_the_errors_of_the_readme_are_those_of_luce(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shown = next(b for b in blocks(ROOT / "README.md", "text") if "pairs.jsonl" in b).splitlines()
    top = "model: m\ndata: pairs.jsonl\nobjective: {dpo: {beta: 0.1}}\ntrain:\n"
    for tree, overrides, line in (
        (f"{top}  lerning_rate: 1e-6\n", [], shown[1]),
        (f"{top}  learning_rate: 1e-6\n  batch_size: 8.5\n", [], shown[2]),
        (f"{top}  seed: 1\n", ["objective=dop"], shown[3]),
    ):
        (tmp_path / "recipe.yaml").write_text(tree)
        with pytest.raises(LuceError) as error:
            load_recipe("recipe.yaml", overrides)
        assert str(error.value) == line
    (tmp_path / "pairs.jsonl").write_text(
        '{"prompt": "p", "chosen": "c", "rejected": "r"}\n{"prompt": "p", "chosen": "c"}\n'
    )
    assert run(["data", "convert", "pairs.jsonl", "o.jsonl", "--to", "pairs"]) == 2
    assert capsys.readouterr().err.startswith(f"luce: {shown[0]}")


def test_the_page_of_recipes_lists_every_key():
    text = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w.]+)` \| [^|]*\| ([^|]*) \|", text, flags=re.M))
    sections = ("model", "data", "train", "evaluate", "online", "online.engine", "online.ray")
    keys = set(leaves()) - set(sections)
    assert set(rows) == keys
    tree = {"model": "m", "data": "d", "objective": "dpo", "online": {"annotator": "a"}}
    resolved = load_recipe(tree, ["model.lora.r=16"])
    for key, default in rows.items():
        if default in ("required", "null") or key in ("name", "output_dir", "data.columns"):
            continue
        value = resolved.recipe
        for part in key.split("."):
            value = getattr(value, part)
        value = list(value) if isinstance(value, tuple) else value
        assert parse_yaml(default, key).value == value, key


def test_the_pages_of_the_site_are_there():
    nav = parse_yaml((ROOT / "mkdocs.yml").read_text(), "mkdocs.yml").value["nav"]
    for group in nav:
        for entry in next(iter(group.values())):
            for page in entry.values():
                assert (ROOT / "docs" / page).exists(), page


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_no_page_links_out_of_the_project(page):
    """What is installed from where is the user's choice, and papers are named by their numbers."""
    assert "://" not in page.read_text(encoding="utf-8")
