"""The page on reinforcement learning against the code."""

import re
from dataclasses import fields
from pathlib import Path

from luce.online.rl import METHODS, make_method
from luce.recipe.load import load_recipe
from luce.recipe.online_rl_check import check_rl

PAGE = (Path(__file__).parents[3] / "docs" / "reinforcement.md").read_text("utf-8")


def rows(title: str) -> list[list[str]]:
    """The cells of the table that begins so."""
    after = PAGE[PAGE.index(title) :].splitlines()[2:]
    table = []
    for line in after:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table


def test_the_recipe_of_the_page_is_one(tmp_path):
    (tmp_path / "recipe.yaml").write_text(re.findall(r"```yaml\n(.*?)```", PAGE, re.S)[0])
    check_rl(load_recipe(tmp_path / "recipe.yaml"))


def test_every_method_stands_in_the_table_with_its_mean_and_its_kl():
    table = {re.findall("`(.+?)`", row[0])[0]: row for row in rows("| `objective` |")}
    assert list(table) == list(METHODS)
    for name, row in table.items():
        method = make_method(name, {})
        assert row[2] == ("none" if method.clip is None else "clipped")
        assert row[3] == f"`{method.loss_agg_mode}`"
        assert row[4].startswith("in the " + method.kl.removeprefix("in_"))


def test_every_parameter_stands_in_the_table_with_its_default():
    listed = {}
    for names, _, default, _ in rows("| parameter |"):
        for place, name in enumerate(re.findall("`(.+?)`", names)):
            listed[name] = (place, default)
    every = {field.name for kind in METHODS.values() for field in fields(kind)}
    assert set(listed) == every
    for method in map(lambda name: make_method(name, {}), METHODS):
        for name, value in method.parameters.items():
            place, said = listed[name]
            if name == "loss_agg_mode":
                continue
            if ";" in said:
                own = [part for part in said.split(";")[1:] if f"`{method.name}`" in part]
                said = (own or [said.split(";")[0]])[0].split()[-1]
            elif name in ("gamma", "lam"):
                said = said.split(", ")[place]
            words = {"null": None, "true": True}
            found = words[said] if said in words else said
            assert found == value or float(found) == value, (method.name, name)
