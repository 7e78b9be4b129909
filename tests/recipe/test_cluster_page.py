"""The arithmetic of the page on clusters, made again from its assumptions."""

from pathlib import Path

import pytest

from luce.recipe.load import load_recipe
from luce.recipe.online_loop import check_online
from luce.recipe.yaml12 import parse_yaml

PAGE = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text(encoding="utf-8")
FLAT = " ".join(PAGE.split())
PROMPTS, N, PROMPT, RESPONSE, WEIGHTS, RATE = 10**6, 8, 200, 300, 7e9, 4e14
SAMPLED = PROMPTS * N * RESPONSE


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (SAMPLED / 1e9, "N · n · 300 = {:.1f} · 10⁹ are sampled"),
        (PROMPTS * PROMPT / 1e8, "N · 200 = {:.0f} · 10⁸"),
        (PROMPTS * N * PROMPT / 1e9, "cache reads {:.1f} · 10⁹"),
        (SAMPLED / 506 / 3600, "| 506 | {:,.0f} |"),
        (SAMPLED / 7224 / 3600, "| 7,224 | {:.0f} |"),
        (SAMPLED / 20000 / 3600, "| 20,000 | {:.0f} |"),
        (PROMPTS * N * (PROMPT + RESPONSE) / 1e9, "8 · 10⁶ · 500 = {:.0f} · 10⁹ tokens"),
        (2 * WEIGHTS * PROMPTS * N * 500 / 1e19, "weight and token {:.1f} · 10¹⁹"),
        (2 * WEIGHTS * PROMPTS * N * 500 / RATE / 3600, "10¹⁹: {:.0f} GPU hours. A judge"),
        (N * (N - 1) / 2, "called {:.0f} · 10⁶ times"),
        (28e6 * 950 / 1e10, "{:.2f} · 10¹⁰ tokens in"),
        (28e6 * 10 / 1e8, "{:.1f} · 10⁸ out"),
        (28e6 * 950 * 0.15e-6, "{:,.0f} + 168 ="),
        (28e6 * 10 * 0.6e-6, "+ {:.0f} ="),
        (28e6 * (950 * 0.15e-6 + 10 * 0.6e-6), "= {:,.0f} USD"),
        (28e6 / 10_000 / 60, "{:.1f} hours at 10,000 calls"),
        (1e6 * (950 * 0.15e-6 + 10 * 0.6e-6), "10⁶ calls, {:.2f} USD"),
        (PROMPT + 2 * RESPONSE, "200 + 2 · 300 = {:.0f} tokens"),
        (6 * WEIGHTS * PROMPTS * 800 / 1e19, "{:.2f} · 10¹⁹: 23.3"),
        (6 * WEIGHTS * PROMPTS * 800 / RATE / 3600, "10¹⁹: {:.1f} GPU hours; reference"),
        (2 * WEIGHTS * PROMPTS * 800 / RATE / 3600, "at 2: {:.1f} more"),
        (SAMPLED * 24 / 1e9, "24 bytes, {:.1f} GB"),
        ((2 * RESPONSE + PROMPT) * 13 / 1e3, "13 bytes = {:.1f} kB"),
        (WEIGHTS * 2 / 1e9, "{:.0f} GB in bfloat16"),
        (WEIGHTS * 4 / 1e9, "{:.0f} GB in float32"),
        (WEIGHTS * 12 / 1e9, "10⁹ · 12 = {:.0f} GB"),
        (SAMPLED * 68 / 1e9, "{:.0f} GB for all"),
        (SAMPLED / 20 / 1e8, "{:.1f} · 10⁸ tokens, 8.2 GB"),
        (SAMPLED / 20 * 68 / 1e9, "10⁸ tokens, {:.1f} GB a round"),
        (-(-50_000 // 64), "{:.0f} blocks of 64"),
    ],
)
def test_the_page_says_what_follows_from_its_assumptions(value, said):
    assert said.format(value) in FLAT


def test_the_sections_of_the_page_are_those_of_a_recipe():
    parts = [part.split("```")[0] for part in PAGE.split("```yaml\n")[1:]]
    assert len(parts) == 3
    for text in parts:
        tree = parse_yaml(text, "cluster.md").value
        engine = tree["online"].get("engine", {})
        if engine:
            engine["base_url"] = "http://h:1"
        whole = {"model": "m", "data": "d", "objective": "dpo", "online": {"annotator": "a:b"}}
        whole["online"] |= tree["online"]
        check_online(load_recipe(whole))
