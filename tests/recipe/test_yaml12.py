import math

import pytest

from luce.errors import RecipeError
from luce.recipe.yaml12 import parse_yaml, read_yaml, scalar_text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-6", 1e-6),
        ("5E-7", 5e-7),
        ("1.", 1.0),
        (".5", 0.5),
        ("-3", -3),
        ("+3", 3),
        ("007", 7),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("none", "none"),
        ("2026-01-01", "2026-01-01"),
        ("12:30", "12:30"),
        ("'1e-6'", "1e-6"),
        (".inf", math.inf),
        ("[1, 1e3, a]", [1, 1000.0, "a"]),
        ("!!str 3", "3"),
        ("!!float 3", 3.0),
    ],
)
def test_a_scalar_is_what_yaml_1_2_says(text, value):
    read = parse_yaml(text, "f").value
    assert read == value and type(read) is type(value)


def test_lines_are_those_of_the_keys():
    document = parse_yaml("a: 1\nb:\n  c: 2\n  d:\n    - x\n", "f")
    assert {k: document.lines[k] for k in ("a", "b", "b.c", "b.d")} == {
        "a": 1,
        "b": 2,
        "b.c": 3,
        "b.d": 4,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", r"^f:2: the key 'a' is given twice"),
        ("x:\n  a: 1\n  a: 2", r"^f:3: the key 'a' is given twice"),
        ("a: !!python/object/apply:os.system [ls]", r"^f:1: the tag '!!python/object/apply:os"),
        ("a: !custom 3", r"^f:1: the tag '!custom' is not allowed"),
        ("a: !!int x", r"^f:1: 'x' is not a YAML int"),
        ("a: b: c", r"^f:1: not valid YAML"),
        ("a:\n\t- 1", r"^f:2: not valid YAML"),
        ("a: 1\n---\nb: 2", r"^f:2: not valid YAML"),
        ("a: [1, 2", r"^f:1: not valid YAML"),
        ("a: 1\nb: \x07", r"^f:2: not valid YAML: the character"),
        ("a: &x [*x]", r"^f:1: an alias"),
        ("a: *nowhere", r"^f:1: not valid YAML"),
        ("? [a, b]\n: 1", r"^f:1: a key must be a name"),
        ("<<: {a: 1}", r"^f:1: merge keys"),
    ],
)
def test_what_cannot_be_read_names_file_and_line(text, message):
    with pytest.raises(RecipeError, match=message):
        parse_yaml(text, "f")


def test_an_alias_used_twice_is_read_twice():
    assert parse_yaml("a: &x {b: 1}\nc: *x", "f").value == {"a": {"b": 1}, "c": {"b": 1}}


def test_files_that_are_missing_folders_or_not_text_are_named(tmp_path):
    with pytest.raises(RecipeError, match=r"absent.yaml: no such file"):
        read_yaml(tmp_path / "absent.yaml")
    with pytest.raises(RecipeError, match="is a folder"):
        read_yaml(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9")
    with pytest.raises(RecipeError, match=r"latin.yaml: not UTF-8 text \(byte 9\)"):
        read_yaml(tmp_path / "latin.yaml")


def test_a_byte_order_mark_is_not_part_of_the_first_key(tmp_path):
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfname: a")
    assert read_yaml(tmp_path / "bom.yaml").value == {"name": "a"}


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -7,
        1e-6,
        1e300,
        0.1,
        math.inf,
        -math.inf,
        "1e-6",
        "true",
        "null",
        "~",
        "",
        " a ",
        "a b",
        "a: b",
        "a #b",
        "-",
        "- a",
        "---",
        "~/models",
        "C:\\x",
        'say "hi"',
        "two\nlines\ttab",
        "\x00\x7f\x85\u2028\ufeff",
        "日本語 🙂",
        "007",
        "[a]",
        "{a}",
        "&a",
        "*a",
        "!a",
        "a,b",
        "@x",
        "%x",
        "?",
        ":",
        ["q", 1, None, "a, b"],
        {"a b": 1, "c": ["d"]},
        [],
        {},
    ],
)
def test_a_value_written_on_one_line_reads_back_the_same(value):
    read = parse_yaml(f"key: {scalar_text(value)}  # a comment", "f").value["key"]
    assert read == value and type(read) is type(value)


def test_nan_reads_back_as_nan():
    assert math.isnan(parse_yaml(scalar_text(math.nan), "f").value)
