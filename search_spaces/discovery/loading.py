"""A network by reference: `torchvision:resnet18`, or an object or factory in a Python file."""

from __future__ import annotations

import difflib
from typing import Any

from torch import nn

from search_spaces.errors import SpaceError, unknown
from search_spaces.user_file import load_object


def load_model(reference: str) -> nn.Module:
    """The network that `torchvision:NAME` or `path/file.py:OBJECT` names.

    A torchvision network is randomly initialised: nothing is downloaded. OBJECT is an `nn.Module`, or a callable
    without arguments that returns one (a class of networks is such a callable).

    Raises:
        SpaceError: in one line, what is missing, not a network, or raised.
    """
    source, colon, name = reference.rpartition(":")
    if not colon or not source or not name:
        raise SpaceError(f"model {reference!r}: give torchvision:NAME, such as torchvision:resnet18, or FILE.py:OBJECT")
    if source == "torchvision":
        return _torchvision(name)
    found = load_object(reference)
    return found if isinstance(found, nn.Module) else _checked(reference, found)


def _torchvision(name: str) -> nn.Module:
    import torchvision

    names = torchvision.models.list_models()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=6, cutoff=0.3)
        raise unknown("torchvision model", name, near or ("resnet18", "resnet50", "mobilenet_v2"))
    options: dict[str, Any] = {"weights": None}
    if torchvision.models.get_model_builder(name).__module__.rpartition(".")[0] != "torchvision.models":
        options["weights_backbone"] = None
    if name in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": False}
    return _checked(f"torchvision:{name}", lambda: torchvision.models.get_model(name, **options))


def _checked(reference: str, factory: Any) -> nn.Module:
    if not callable(factory):
        raise SpaceError(f"{reference} is a {type(factory).__name__}: give an nn.Module or a callable that returns one")
    try:
        model = factory()
    except Exception as error:
        raise SpaceError(f"{reference} raised {_one_line(error)}") from error
    if not isinstance(model, nn.Module):
        raise SpaceError(f"{reference} returned a {type(model).__name__}, not an nn.Module")
    return model


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
