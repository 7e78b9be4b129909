"""Networks and tokenizers from a folder or a hub name: safe, complete, finite, or refused."""

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from safetensors import SafetensorError
from torch import nn
from transformers import AutoTokenizer, PreTrainedModel
from transformers.pytorch_utils import Conv1D
from transformers.utils import find_adapter_config_file, logging

from luce.errors import ModelError, did_you_mean
from luce.numerics import first_non_finite

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}
PICKLED = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt")


@dataclass(frozen=True)
class LoraSettings:
    """A low-rank adapter: W + (alpha / r) B A, with B = 0 at the start (Hu et al., 2021).

    Attributes:
        r: rank.
        alpha: scale, before the division by r.
        dropout: on the adapter's input, in training.
        target_modules: names of the layers it goes to, or "all-linear".
    """

    r: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    target_modules: str | tuple[str, ...] = "all-linear"

    def __post_init__(self) -> None:
        if self.r < 1 or self.alpha <= 0 or not 0 <= self.dropout < 1:
            raise ModelError(
                f"lora: r = {self.r}, alpha = {self.alpha}, dropout = {self.dropout}. "
                "Give r ≥ 1, alpha > 0 and 0 ≤ dropout < 1."
            )


@dataclass(frozen=True)
class Loaded:
    """A network with its tokenizer.

    Attributes:
        module: a transformers model, or a peft model around one.
        tokenizer: the model's own.
        path: what was asked for.
        base: the folder or hub name of the base model; `path` itself where there is no adapter.
    """

    module: nn.Module
    tokenizer: Any
    path: str
    base: str


def load(
    auto: Any,
    path: str,
    *,
    dtype: str,
    device: torch.device,
    trust_remote_code: bool,
    may_be_missing: tuple[str, ...] = (),
    **settings: Any,
) -> Loaded:
    """The network of a folder or hub name through one of transformers' Auto classes, with an
    adapter around it where the folder holds one. Raises ModelError, with the remedy."""
    path = str(Path(path).expanduser()) if path.startswith("~") else path
    if dtype != "auto" and dtype not in DTYPES:
        raise ModelError(f"model.dtype: no {dtype!r}. {did_you_mean(dtype, ['auto', *DTYPES])}")
    adapter, base = _adapter_base(path)
    if Path(base).is_dir():
        _refuse_pickles(Path(base))
    network = _from_pretrained(
        auto,
        base,
        dtype="auto" if dtype == "auto" else DTYPES[dtype],
        trust_remote_code=trust_remote_code,
        may_be_missing=may_be_missing,
        **settings,
    )
    module: nn.Module = network
    if adapter:
        if Path(path).is_dir() and not (Path(path) / "adapter_model.safetensors").exists():
            raise ModelError(f"{path}: an adapter without adapter_model.safetensors.")
        with quietly():
            module = PeftModel.from_pretrained(network, path, is_trainable=True)
    tokenizer = _tokenizer(path, base, trust_remote_code)
    check_vocabulary(network, tokenizer, base)
    check_finite(module, path)
    return Loaded(module.to(device), tokenizer, path, base)


def add_lora(
    network: nn.Module, settings: LoraSettings, task: TaskType, seed: int, path: str
) -> PeftModel:
    """The network with a fresh adapter, drawn from this seed; only the adapter is trainable."""
    if not isinstance(network, PreTrainedModel):
        raise ModelError(
            f"{path} is an adapter already, and `lora` asks for another one. "
            "Leave `lora` out to train it further, or export it merged first."
        )
    targets = settings.target_modules
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]
        lora_dropout=settings.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type=task,
        fan_in_fan_out=any(isinstance(part, Conv1D) for part in network.modules()),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            with quietly():
                return cast(PeftModel, get_peft_model(network, config))
        except ValueError as error:
            raise ModelError(f"lora.target_modules: {_first_line(error)}") from error


def check_vocabulary(network: PreTrainedModel, tokenizer: Any, path: str) -> None:
    """Every id of the tokenizer has an embedding."""
    rows = embedding_rows(network)
    token, highest = max(tokenizer.get_vocab().items(), key=lambda item: item[1])
    if highest >= rows:
        raise ModelError(
            f"{path}: the tokenizer has ids up to {highest} ({token!r}), the model embeddings for "
            f"{rows} ids only. Use the model's own tokenizer, or resize its embeddings and save it "
            "again."
        )


def embedding_rows(network: PreTrainedModel) -> int:
    """Ids that have an embedding: 0 to this, exclusive."""
    return cast(nn.Embedding, network.get_input_embeddings()).weight.shape[0]


def check_finite(module: nn.Module, path: str) -> None:
    """No weight is nan or infinite."""
    name = first_non_finite((n, p.detach()) for n, p in module.named_parameters())
    if name is not None:
        raise ModelError(f"{path}: {name} holds a nan or an infinity. The weights are damaged.")


@contextmanager
def quietly() -> Iterator[None]:
    """Without the reports and progress bars of transformers, whose findings luce raises itself,
    and without its warning about a name that peft still uses."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _adapter_base(path: str) -> tuple[bool, str]:
    """Whether `path` is an adapter, and where its base model is."""
    folder = Path(path)
    if folder.is_dir():
        file = folder / "adapter_config.json"
        if not file.exists():
            if not (folder / "config.json").exists():
                raise ModelError(
                    f"{path}: a folder without config.json. Give a folder in Hugging Face format "
                    "(config.json, model.safetensors, tokenizer.json)."
                )
            return False, path
    elif folder.exists() or path.startswith((".", "/")) or path.count("/") > 1:
        raise ModelError(
            f"{path}: no such model folder. Give a folder in Hugging Face format, or a name of the "
            "hub, owner/name; `luce new-model` makes a small one."
        )
    else:
        try:
            found = find_adapter_config_file(path)
        except OSError as error:
            raise _not_fetched(path, error) from error
        if found is None:
            return False, path
        file = Path(found)
    base = json.loads(file.read_text(encoding="utf-8")).get("base_model_name_or_path")
    if not base:
        raise ModelError(f"{path}: an adapter whose adapter_config.json names no base model.")
    beside = folder / base
    return True, str(beside) if beside.is_dir() and not Path(base).is_dir() else base


def _refuse_pickles(folder: Path) -> None:
    pickled = [file.name for pattern in PICKLED for file in folder.glob(pattern)]
    if pickled and not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"{folder}: only pickled weights ({pickled[0]}), which can run code when they are "
            "read. Convert them: load with transformers where you trust them, then save_pretrained."
        )


def _from_pretrained(auto: Any, base: str, may_be_missing: tuple[str, ...], **settings: Any) -> Any:
    try:
        with quietly():
            network, info = auto.from_pretrained(
                base, use_safetensors=True, output_loading_info=True, **settings
            )
    except OSError as error:
        if Path(base).is_dir():
            raise ModelError(f"{base}: {_first_line(error)}") from error
        raise _not_fetched(base, error) from error
    except (ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        if "trust_remote_code" in str(error):
            raise ModelError(
                f"{base}: the model comes with code of its own, which is not run. Read it; where "
                "you trust it, set `model.trust_remote_code: true`."
            ) from error
        raise ModelError(f"{base}: {_first_line(error)}") from error
    missing = sorted(k for k in info["missing_keys"] if not k.startswith(may_be_missing or ("\0",)))
    if missing or info["mismatched_keys"]:
        name = missing[0] if missing else sorted(info["mismatched_keys"])[0][0]
        raise ModelError(
            f"{base}: no weights for {name} ({len(missing) + len(info['mismatched_keys'])} in all) "
            f"of a {type(network).__name__}. They would be random: give a complete model."
        )
    return network


def _tokenizer(path: str, base: str, trust_remote_code: bool) -> Any:
    own = any((Path(path) / n).exists() for n in ("tokenizer.json", "tokenizer_config.json"))
    source = path if own else base
    _refuse_files_outside(Path(source))
    try:
        return AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{source}: no usable tokenizer ({_first_line(error)}). "
            "Put the model's tokenizer.json and tokenizer_config.json beside its weights."
        ) from error


def _refuse_files_outside(folder: Path) -> None:
    """A tokenizer's files lie in its folder: another file on this machine is nobody's vocabulary,
    and would be exported with the model."""
    config = folder / "tokenizer_config.json"
    if not config.is_file():
        return
    try:
        given = json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{config}: not JSON: {error}.") from error
    for key, name in given.items() if isinstance(given, dict) else ():
        if key.endswith("_file") and isinstance(name, str):
            inside = os.path.normpath(folder.absolute() / name)
            if Path(name).is_absolute() or not inside.startswith(f"{folder.absolute()}{os.sep}"):
                raise ModelError(
                    f"{config}: {key}: {name!r} is outside the model's folder. Take the key out, "
                    "or put the file beside it."
                )


def _not_fetched(name: str, error: Exception) -> ModelError:
    return ModelError(
        f"{name}: no such folder, and not fetched from the Hugging Face hub "
        f"({_first_line(error)}). Give a model folder, or a hub name while online or in the cache."
    )


def _first_line(error: Exception) -> str:
    """The first sentence of somebody else's error."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].strip().strip("'\"").rstrip(".")
