import pytest
import yaml
from markdown_it import MarkdownIt

from luce.report import load_run, write_card
from luce.report.card import block, code, front_matter, plain


def matter(text):
    _, head, body = text.split("---\n", 2)
    return yaml.safe_load(head), body


def test_the_card_has_front_matter_results_and_the_way_back(run_folder):
    path = write_card(run_folder)
    assert path == run_folder / "README.md"
    head, body = matter(path.read_text())
    assert head["library_name"] == "transformers"
    assert head["tags"] == ["luce", "preference-learning", "dpo"]
    body = body.replace("\xa0", " ")
    assert "| Win rate against the initial policy | 71.5 % | 66.0–76.8 % | 256 prompts |" in body
    assert "| Held-out accuracy | 71.0 % | 64.4–76.9 % | 200 pairs |" in body
    assert "Ω(y) = β log π(y|x)/π_ref(y|x)" in body
    assert "| Training | `data/pairs.jsonl` |" in body
    assert "| dropped | identical pair | 19 |" in body
    assert "luce train 'recipes/hh dpo.yaml' train.seed=1" in body
    assert "210 of 4,000 training rows" in body


def test_hub_names_go_to_the_front_matter_and_folders_do_not(write_run, with_manifest, tmp_path):
    (tmp_path / "local").mkdir()
    for path, source, base, datasets in (
        ("Qwen/Qwen2.5-0.5B", "Anthropic/hh-rlhf", "Qwen/Qwen2.5-0.5B", ["Anthropic/hh-rlhf"]),
        (str(tmp_path / "local"), "data/pairs.jsonl.gz", None, None),
        ("../models/tiny", "pairs.jsonl", None, None),
    ):
        manifest = with_manifest({"model.path": path, "data.train.source": source})
        folder = write_run(f"run-{len(list(tmp_path.iterdir()))}", manifest=manifest)
        head = yaml.safe_load(front_matter(load_run(folder)))
        assert head.get("base_model") == base
        assert head.get("datasets") == datasets


def test_adapters_and_reward_models_name_their_library_and_task(write_run, with_manifest):
    manifest = with_manifest({"model.lora": {"r": 8}, "model.kind": "reward"})
    head, body = matter(write_card(write_run(manifest=manifest)).read_text())
    assert (head["library_name"], head["pipeline_tag"]) == ("peft", "text-classification")
    assert {"lora", "reward-model"} <= set(head["tags"])
    assert "A reward model trained as a LoRA adapter" in body


def test_hostile_text_stays_text_in_markdown(write_run, with_manifest):
    evil = "x | y\n# big\n```\n<script>alert(1)</script>\n---\na: b"
    manifest = with_manifest(
        {
            "objective.name": evil,
            "objective.formula": evil,
            "objective.parameters": {evil: evil},
            "data.train.format": evil,
            "data.train.source": evil,
            "reference.kind": evil,
            "command": ["luce", evil],
        }
    )
    text = write_card(write_run(manifest=manifest)).read_text()
    head, body = matter(text)
    assert head["tags"][2] == " ".join(evil.split())
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    every = [child for token in tokens for child in (token, *(token.children or ()))]
    assert not [t for t in every if t.type in ("html_block", "html_inline", "hr")]
    headings = [tokens[i + 1].content for i, t in enumerate(tokens) if t.type == "heading_open"]
    assert headings == ["hh-dpo", "Results", "Objective", "Data", "Reproduce"]
    fences = [t.content for t in tokens if t.type == "fence"]
    assert fences[0] == evil + "\n" and len(fences) == 2
    rows = [t for t in tokens if t.type == "tr_open"]
    cells = [t for t in tokens if t.type in ("td_open", "th_open")]
    assert len(rows) == 8 + 2 + 3 + 4 and len(cells) == 4 * 8 + 2 * 2 + 7 * 3 + 3 * 4


@pytest.mark.parametrize("text", ["plain", "a`b", "``", "`start", "a|b"])
def test_code_spans_survive_backticks_and_bars(text):
    span = code(text)
    fence = span[: len(span) - len(span.lstrip("`"))]
    inner = span[len(fence) : -len(fence)].strip()
    assert fence not in inner
    assert inner.replace("\\|", "|") == text


def test_blocks_are_not_ended_by_their_own_text():
    text = "a\n````\nb"
    assert block(text).split("\n")[0] == "`````"


def test_plain_text_is_one_line_without_markup():
    assert plain("*a*\n<b>") == "\\*a\\* &lt;b>"


def test_a_bare_manifest_still_has_a_card(write_run):
    folder = write_run(manifest={}, metrics=[], evaluation=None, sampled=[], ledger=[], recipe=None)
    head, body = matter(write_card(folder).read_text())
    assert head["tags"] == ["luce", "preference-learning"]
    assert "The run recorded no held-out result." in body
    assert "None" not in body
