"""The output layer of a network, as the log-probability kernel can use it: with an adapter on it,
with a copy of it in training, or plain."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from peft.tuners.lora import Linear as LoraLinear
from peft.utils import ModulesToSaveWrapper
from torch import Tensor, nn
from transformers import PreTrainedModel

from luce.models.logprob import Output


@dataclass(frozen=True)
class LowRank:
    """An adapter on the layer: z += scaling · B A dropout(h)."""

    a: nn.Linear
    b: nn.Linear
    dropout: nn.Module
    scaling: float


@dataclass(frozen=True)
class Head:
    """The output layer of a network: logits = softcap(scale · (W h + b + Σ adapters)).

    Attributes:
        backbone: what makes the hidden states.
        linear: W and b.
        softcap, scale: None and 1 for most.
        adapters: the active ones, if the layer has any.
    """

    backbone: nn.Module
    linear: nn.Linear
    softcap: float | None
    scale: float
    adapters: tuple[LowRank, ...] = ()

    def output(self, hidden: Float[Tensor, "tokens hidden"]) -> Output:
        """The layer on these hidden states; the adapters' inner products have their graph."""
        linear, low_rank = self.linear, None
        if self.adapters:
            inner = [x.scaling * x.a(x.dropout(hidden.to(x.a.weight.dtype))) for x in self.adapters]
            outer = [x.b.weight for x in self.adapters]
            # several adapters add up: one of all their ranks
            single = len(self.adapters) == 1
            low_rank = (
                (inner[0], outer[0]) if single else (torch.cat(inner, 1), torch.cat(outer, 1))
            )
        return Output(hidden, linear.weight, linear.bias, self.softcap, self.scale, low_rank)


def find_head(model: PreTrainedModel) -> Head | str:
    """The output layer as the kernel can use it, or why it cannot."""
    linear, adapters = _unwrap(model.get_output_embeddings())
    if isinstance(adapters, str):
        return adapters
    if type(linear) is not nn.Linear:
        return f"the output layer is a {type(linear).__name__}"
    backbone = model.get_decoder()
    if backbone is None or backbone is model:
        return f"{type(model).__name__} has no backbone of its own"
    config = model.config.get_text_config()
    scale = getattr(config, "logit_scale", None) or 1.0
    scaling = getattr(config, "logits_scaling", None) or 1.0
    softcap = getattr(config, "final_logit_softcapping", None)
    return Head(backbone, linear, softcap, float(scale) / float(scaling), adapters)


def _unwrap(layer: nn.Module | None) -> tuple[nn.Module | None, tuple[LowRank, ...] | str]:
    """What peft has put around a layer, taken off: the layer itself, and its active adapters or why
    they cannot be told."""
    if isinstance(layer, ModulesToSaveWrapper):
        copies = [] if layer.disable_adapters else layer.active_adapters
        if len(copies) > 1:
            return layer, f"the output layer has {len(copies)} trained copies"
        return (layer.modules_to_save[copies[0]] if copies else layer.original_module), ()
    if type(layer) is not LoraLinear:
        return layer, ()
    base = layer.base_layer
    if layer.disable_adapters:
        # merged weights are taken apart first, by its own forward
        return (
            (layer, "the adapter is merged into the output layer") if layer.merged else (base, ())
        )
    if layer.merged:
        return base, ()
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    special = [name for name in active if name in layer.lora_variant or layer.lora_bias.get(name)]
    if special or layer.fan_in_fan_out:
        return layer, "the adapter of the output layer is a variant of LoRA"
    found = [
        LowRank(
            layer.lora_A[name],  # type: ignore[arg-type]
            layer.lora_B[name],  # type: ignore[arg-type]
            layer.lora_dropout[name],
            float(layer.scaling[name]),
        )
        for name in active
    ]
    return base, tuple(found)
