"""A Python script that builds one of TRL's configurations. It is read by its syntax, never run."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from luce.errors import LuceError
from luce.recipe.importing.source import Source

CONFIGS = {
    "DPOConfig": "dpo", "KTOConfig": "kto", "CPOConfig": "cpo", "ORPOConfig": "orpo",
    "RewardConfig": "reward", "SFTConfig": "sft",
}  # fmt: skip
"""Class of a configuration → the command of TRL that it is for."""

ADAPTER = {
    "r": "lora_r", "lora_alpha": "lora_alpha", "lora_dropout": "lora_dropout",
    "target_modules": "lora_target_modules", "modules_to_save": "lora_modules_to_save",
    "target_parameters": "lora_target_parameters", "task_type": "lora_task_type",
    "bias": "lora_bias",
}  # fmt: skip
ADAPTER_DEFAULTS = {"lora_r": 8, "lora_alpha": 8, "lora_dropout": 0.0}
"""PEFT's own, which a script has where it names none; TRL's flags have others."""

LOADING = {"torch_dtype": "dtype", "revision": "model_revision"}
HARMLESS = frozenset(["shuffle"])
"""Methods of a data set that leave the same rows."""


def read_script(path: Path, text: str) -> Source:
    """The settings of the first configuration that the script builds, with the model, the adapter
    and the data that its trainer is given.

    Raises:
        LuceError: not Python, no such configuration in it, or a value that only running the script
            would tell.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise LuceError(f"{path}: not Python that can be read: {error}.") from None
    script = _Script(path, tree)
    config = next((c for c in script.calls if _name(c) in CONFIGS), None)
    if config is None:
        raise LuceError(
            f"{path}: no {', '.join(CONFIGS)} is built in it. Give the script that does, a "
            "configuration file, or a shell script with the command line."
        )
    trainer = next((c for c in script.calls if _name(c).endswith("Trainer")), None)
    given = {} if trainer is None else script.keywords(trainer, ("model",))
    values = {key: script.value(node, key) for key, node in
              script.keywords(config, ("output_dir",)).items()}  # fmt: skip
    spelled: dict[str, str] = {}
    _model(script, given.get("model"), values, spelled)
    _adapter(script, given.get("peft_config"), values)
    _data(script, given.get("train_dataset"), values, spelled)
    known = ("model", "args", "peft_config", "train_dataset")
    for key in [k for k in given if k not in known]:
        if not _is_none(given[key]):
            values[key] = ast.unparse(given[key])
    return Source(str(path), values, CONFIGS[_name(config)], spelled=spelled)


class _Script:
    """A syntax tree, its calls in the order of the text, and what each name is given."""

    def __init__(self, path: Path, tree: ast.Module):
        self.path = path
        found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        self.calls = sorted(found, key=lambda node: (node.lineno, node.col_offset))
        self.given: dict[str, list[ast.expr]] = {}
        for name, value in sorted(_assignments(tree), key=lambda pair: pair[1].lineno):
            self.given.setdefault(name, []).append(value)

    def keywords(self, call: ast.Call, names: tuple[str, ...]) -> dict[str, ast.expr]:
        """The arguments of a call by name; `names` are those of the positional ones."""
        if len(call.args) > len(names) or any(k.arg is None for k in call.keywords):
            raise self.unknown(call, _name(call))
        placed = dict(zip(names, call.args, strict=False))
        return placed | {k.arg: k.value for k in call.keywords if k.arg is not None}

    def value(self, node: ast.expr, key: str) -> Any:
        """A constant: written there, under a name that is given one, or a dtype of torch."""
        node = self.last(node)
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("torch."):
            return node.attr
        if isinstance(node, ast.JoinedStr):
            return "".join(str(self.value(part, key)) for part in node.values)
        if isinstance(node, ast.FormattedValue) and node.format_spec is None:
            return self.value(node.value, key)
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError):
            raise self.unknown(node, key) from None

    def last(self, node: ast.expr) -> ast.expr:
        """What a name was last given; another expression as it is."""
        for _ in range(len(self.given) + 1):
            if not (isinstance(node, ast.Name) and node.id in self.given):
                break
            node = self.given[node.id][-1]
        return node

    def unknown(self, node: ast.expr, key: str) -> LuceError:
        """The error for what only running the script would tell."""
        return LuceError(
            f"{self.path}:{node.lineno}: {key}: `{ast.unparse(node)}` is known only when the "
            "script runs. Write the value in its place."
        )


def _assignments(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            if isinstance(node.target, ast.Name):
                yield node.target.id, node.value


def _model(
    script: _Script, node: ast.expr | None, values: dict[str, Any], spelled: dict[str, str]
) -> None:
    """model_name_or_path and how the model is loaded."""
    if node is None:
        node = next((c for c in script.calls if ast.unparse(c.func).startswith("AutoModel")), None)
    if node is None:
        return
    node = script.last(node)
    spelled["model_name_or_path"] = "model"
    if not (isinstance(node, ast.Call) and _name(node) == "from_pretrained"):
        values["model_name_or_path"] = script.value(node, "model")
        return  # TRL loads it, in float32 unless model_init_kwargs says otherwise
    loading = script.keywords(node, ("pretrained_model_name_or_path",))
    path = loading.pop("pretrained_model_name_or_path", None)
    if path is not None:
        values["model_name_or_path"] = script.value(path, "model")
    values["dtype"] = "auto"  # of from_pretrained in transformers 5
    for key, given in loading.items():
        key = LOADING.get(key, key)
        opaque = key in ("quantization_config", "device_map")
        values[key] = ast.unparse(given) if opaque else script.value(given, key)


def _adapter(script: _Script, node: ast.expr | None, values: dict[str, Any]) -> None:
    """LoRA under the names of TRL's flags."""
    if node is None or _is_none(node):
        return
    call = script.last(node)
    if not (isinstance(call, ast.Call) and _name(call) == "LoraConfig"):
        raise script.unknown(node, "peft_config")
    values |= {"use_peft": True, **ADAPTER_DEFAULTS}
    for key, given in script.keywords(call, ()).items():
        found = script.value(given, key)
        values[ADAPTER.get(key, key)] = sorted(found) if isinstance(found, set) else found


def _data(
    script: _Script, node: ast.expr | None, values: dict[str, Any], spelled: dict[str, str]
) -> None:
    """The data set by its load_dataset, and which methods changed its rows since."""
    if node is None:
        node = next((c for c in script.calls if _name(c) == "load_dataset"), None)
    if node is None:
        return
    changed: list[str] = []
    split, seen = "", dict[str, int]()
    call: ast.expr = node
    while not (isinstance(call, ast.Call) and _name(call) == "load_dataset"):
        if isinstance(call, ast.Name) and call.id in script.given:
            # `rows = rows.map(f)`: what stands under the name before that line
            seen[call.id] = seen.get(call.id, len(script.given[call.id])) - 1
            if seen[call.id] < 0:
                raise script.unknown(node, "train_dataset")
            call = script.given[call.id][seen[call.id]]
        elif isinstance(call, ast.Subscript):
            split, call = str(script.value(call.slice, "split")), call.value
        elif isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
            changed.append(call.func.attr)
            call = call.func.value
        else:
            raise script.unknown(node, "train_dataset")
    given = script.keywords(call, ("path", "name"))
    found: dict[str, Any] = {key: script.value(value, key) for key, value in given.items()}
    values["datasets"] = [({"split": split} if split else {}) | found]
    spelled["datasets"] = "load_dataset"
    if methods := [name for name in reversed(changed) if name not in HARMLESS]:
        values["train_dataset"] = ", ".join(methods)


def _name(call: ast.Call) -> str:
    """The last part of the name of what is called."""
    return ast.unparse(call.func).rpartition(".")[2]


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
