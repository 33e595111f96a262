"""What discovery can take: an ordinary network in the precision of its input, built, and out of its wrappers."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim.swa_utils import AveragedModel

from search_spaces.errors import SpaceError

#: What weights.safetensors holds and every reader of it takes, beside the network's floating-point type.
_PLAIN_DTYPES = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)


def plain(reference: str, model: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The network itself, taken out of what parallel training or the compiler wraps around it or a part of it.

    The model is left as it is: where a part of it is wrapped, what is returned is a copy.

    Raises:
        SpaceError: one that cannot be traced or trained as it is: scripted, not built yet, of another floating-point
            type than `dtype`, that of its images; one that cannot be copied or saved.
    """
    model = unwrapped(model)
    for path, part in model.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            which = f"{reference}: {path}" if path else reference
            raise SpaceError(f"{which} is TorchScript, which cannot be taken apart: give the module it was made of")
    if any(_wrapped(part) is not None for part in model.modules()):
        model = copied(reference, model)
        for part in list(model.modules()):
            for name, child in list(part.named_children()):
                setattr(part, name, unwrapped(child))
    _check_tensors(reference, model, dtype)
    _check_gradient_hooks(reference, model)
    _check_state(reference, model)
    return model


def unwrapped(model: nn.Module) -> nn.Module:
    """What is inside `DataParallel`, `AveragedModel`, `torch.compile` and the like, or the model itself."""
    while (inner := _wrapped(model)) is not None:
        model = inner
    return model


def copied(reference: str, model: nn.Module) -> nn.Module:
    """A deep copy. Raises SpaceError, saying what keeps it from being one."""
    try:
        return copy.deepcopy(model)
    except Exception as error:  # whatever a user's attributes raise
        text = " ".join(str(error).split()).partition(". ")[0]
        raise SpaceError(
            f"{reference} cannot be copied: {type(error).__name__}: {text[:160]} (hint: keep results of a forward "
            "pass, open files, locks and the like out of its attributes)"
        ) from error


def _wrapped(model: nn.Module) -> nn.Module | None:
    """What is inside a wrapper that computes nothing itself."""
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel | AveragedModel):
        inner: Any = model.module
    else:
        inner = getattr(model, "_orig_mod", None)  # of torch.compile
    return inner if isinstance(inner, nn.Module) else None


def _check_tensors(reference: str, model: nn.Module, dtype: torch.dtype) -> None:
    for name, tensor in _tensors(model):
        if is_lazy(tensor):
            raise SpaceError(
                f"{reference}: {name} is built lazily, at the first call: call the network once on an image before "
                "it is returned"
            )
        kind, wanted = (str(given).removeprefix("torch.") for given in (tensor.dtype, dtype))
        if tensor.is_floating_point() and tensor.dtype is not dtype:
            mend = "model.float()" if dtype is torch.float32 else f"model.to(torch.{wanted})"
            raise SpaceError(
                f"{reference}: {name} is {kind}, but networks are trained in {wanted} (bfloat16 by autocast, see "
                f"--precision): give {mend}"
            )
        if not tensor.is_floating_point() and tensor.dtype not in _PLAIN_DTYPES:
            raise SpaceError(
                f"{reference}: {name} is {kind}, which weights.safetensors cannot hold: make it of {wanted} or whole "
                "numbers"
            )
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
            kind = "without data" if tensor.is_meta else "quantized" if tensor.is_quantized else str(tensor.layout)
            raise SpaceError(f"{reference}: {name} is {kind}: give the network with ordinary tensors")


def _check_gradient_hooks(reference: str, model: nn.Module) -> None:
    """Copies of a tensor do not keep what is called with its gradient."""
    for name, parameter in model.named_parameters():
        if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None):
            raise SpaceError(
                f"{reference}: {name} has a hook on its gradient, which copies of the network do not keep: take it off"
            )


def _tensors(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _check_state(reference: str, model: nn.Module) -> None:
    """Weights travel as tensors by name, between processes and to the export."""
    for path, module in model.named_modules():
        where = path or "it"
        if type(module).get_extra_state is not nn.Module.get_extra_state:
            raise SpaceError(
                f"{reference}: {where}, a {type(module).__name__}, keeps more than tensors among its weights "
                "(get_extra_state): make it buffers"
            )
        for hook in module._forward_pre_hooks.values():
            if type(hook).__name__ in ("WeightNorm", "SpectralNorm") and type(hook).__module__.startswith("torch.nn"):
                name = "weight_norm" if type(hook).__name__ == "WeightNorm" else "spectral_norm"
                raise SpaceError(
                    f"{reference}: {where} has torch.nn.utils.{name}, whose weight is made by a hook: use "
                    f"torch.nn.utils.parametrizations.{name}"
                )
            if type(hook).__module__ == "torch.nn.utils.prune":
                raise SpaceError(
                    f"{reference}: {where} is pruned by a hook: make it final by torch.nn.utils.prune.remove, which "
                    "leaves the zeros in its weights"
                )
