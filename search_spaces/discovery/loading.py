"""A network by reference: `torchvision:resnet18`, or an object or factory in a Python file."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from search_spaces.discovery.plain import plain
from search_spaces.errors import SpaceError, unknown
from search_spaces.user_file import guarded, load_object


def load_model(reference: str, classes: int | None = None) -> nn.Module:
    """The network that `torchvision:NAME` or `path/file.py:OBJECT` names.

    A torchvision network is randomly initialised: nothing is downloaded. OBJECT is an `nn.Module`, or a callable
    that returns one (a class of networks is such a callable). A callable that takes `num_classes` is given
    `classes`, where that is not None; it is called without other arguments.

    Raises:
        SpaceError: in one line, what is missing, not a network, or raised.
    """
    source, colon, name = reference.rpartition(":")
    if not colon or not source or not name:
        raise SpaceError(f"model {reference!r}: give torchvision:NAME, such as torchvision:resnet18, or FILE.py:OBJECT")
    options = {} if classes is None else {"num_classes": classes}
    if source == "torchvision":
        return _torchvision(name, options)
    found = load_object(reference)
    if isinstance(found, nn.Module):
        return plain(reference, found)
    if not callable(found):
        raise SpaceError(f"{reference} is a {type(found).__name__}: give an nn.Module or a callable that returns one")
    with guarded(Path(source).resolve()):
        return _checked(reference, lambda: found(**(options if takes_classes(found) else {})))


def takes_classes(factory: Any) -> bool:
    try:
        return "num_classes" in inspect.signature(factory).parameters
    except (TypeError, ValueError):  # a callable in C without a signature
        return False


def _torchvision(name: str, settings: Mapping[str, Any]) -> nn.Module:
    import torchvision

    names = torchvision.models.list_models()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=6, cutoff=0.3)
        raise unknown("torchvision model", name, near or ("resnet18", "resnet50", "mobilenet_v2"))
    options = {**torchvision_options(name), **settings}
    return _checked(f"torchvision:{name}", lambda: torchvision.models.get_model(name, **options))


def torchvision_options(name: str) -> dict[str, Any]:
    """What `torchvision.models.get_model` is given beside num_classes: nothing is downloaded, one answer is given."""
    import torchvision

    options: dict[str, Any] = {"weights": None}
    if torchvision.models.get_model_builder(name).__module__.rpartition(".")[0] != "torchvision.models":
        options["weights_backbone"] = None
    if name in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": False}
    return options


def _checked(reference: str, factory: Callable[[], Any]) -> nn.Module:
    try:
        model = factory()
    except Exception as error:
        raise SpaceError(f"{reference} raised {_one_line(error)}") from error
    if not isinstance(model, nn.Module):
        raise SpaceError(f"{reference} returned a {type(model).__name__}, not an nn.Module")
    return plain(reference, model)


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
