"""What an exported model.py carries besides the network: its input's fitting and scaling, a builder's tools.

Needs torch alone. These very functions are written into model.py.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_eval


def normalise(images: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """uint8 [N, C, H, W] -> float32 [N, C, H, W]: (pixel / 255 - mean) / std, per channel."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != len(mean):
        raise ValueError(f"images must be uint8 [N, {len(mean)}, H, W], not {images.dtype} {list(images.shape)}")
    center = torch.tensor(mean, device=images.device).view(-1, 1, 1)
    scale = torch.tensor(std, device=images.device).view(-1, 1, 1)
    return (images.float() / 255 - center) / scale


def fit_centre(image: Any, side: int, mode: str) -> torch.Tensor:
    """A PIL image of any size and mode -> uint8 [C, side, side]: its largest centred square, resized."""
    upright = upright_image(image, mode)
    square = min(upright.size)
    left, top = (upright.width - square) / 2, (upright.height - square) / 2
    resized = upright.resize((side, side), 2, box=(left, top, left + square, top + square))  # 2: bilinear, antialiased
    return image_pixels(resized)


def fit_padded(image: Any, side: int, mode: str, grey: int) -> torch.Tensor:
    """A PIL image of any size and mode -> uint8 [C, side, side]: all of it, grey below or on the right."""
    upright = upright_image(image, mode)
    longer = max(upright.size)
    width, height = (max(round(length * side / longer), 1) for length in upright.size)
    fitted = torch.full((len(upright.getbands()), side, side), grey, dtype=torch.uint8)
    fitted[:, :height, :width] = image_pixels(upright.resize((width, height), 2))  # 2: bilinear, antialiased
    return fitted


def upright_image(image: Any, mode: str) -> Any:
    """A PIL image in RGB or L, turned as its EXIF orientation says; 16-bit grey at 8 bits, where PIL would clip it.

    Raises:
        ValueError: it has more than 8 bits a pixel, and it is not known what is white.
    """
    if image.mode.startswith("F") or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        raise ValueError(f"mode {image.mode} has more than 8 bits a pixel: convert it to 8-bit or 16-bit grey, or RGB")
    if image.format == "TIFF":
        image.filename = ""  # else PIL maps one that is to be turned by a quarter in the wrong shape
    turned = importlib.import_module("PIL.ImageOps").exif_transpose(image)
    if turned.mode.startswith("I"):
        turned = turned.convert("I").point(lambda value: value * (1 / 257) + 0.5).convert("L")
    if turned.mode in ("P", "PA") and "transparency" in turned.info:
        turned = turned.convert("RGBA")
    return turned.convert(mode)


def image_pixels(image: Any) -> torch.Tensor:
    """A PIL image in RGB or L -> uint8 [C, H, W]."""
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return pixels.view(image.height, image.width, -1).permute(2, 0, 1).contiguous()


def put(root: nn.Module, path: str, part: nn.Module | nn.Parameter | torch.Tensor, persistent: bool = True) -> None:
    """Give `root` a module, parameter or buffer under a dotted path, with plain modules on the way to it."""
    *owners, leaf = path.split(".")
    for name in owners:
        if name not in root._modules:
            root.add_module(name, nn.Module())
        root = root.get_submodule(name)
    if isinstance(part, nn.Module):
        root.add_module(leaf, part)
    elif isinstance(part, nn.Parameter):
        root.register_parameter(leaf, part)
    else:
        root.register_buffer(leaf, part, persistent)


def restored(
    kind: type[nn.Module],
    attributes: dict[str, Any],
    parts: dict[str, nn.Module | nn.Parameter | torch.Tensor | None],
    constants: dict[str, torch.Tensor],
) -> nn.Module:
    """A module of that class put together from what it held, where its constructor cannot be called again.

    `parts` are its modules, parameters and buffers, `constants` the buffers that are no weights.
    """
    module = kind.__new__(kind)
    nn.Module.__init__(module)
    for name, value in attributes.items():
        setattr(module, name, value)
    for name, part in parts.items():
        if part is None:
            module.register_parameter(name, None)
        else:
            put(module, name, part)
    for name, constant in constants.items():
        put(module, name, constant, persistent=False)
    return module


def adopt(root: nn.Module, network: nn.Module) -> None:
    """Give `root` all that `network` holds, under the same names; parametrized weights become what they come to."""
    for module in list(network.modules()):
        made = dict(getattr(module, "parametrizations", {}))  # by the name of the tensor that they make
        for name in made if parametrize.is_parametrized(module) else ():
            parametrize.remove_parametrizations(module, name)
    for name, child in network._modules.items():
        root.add_module(name, child)
    for name, parameter in network._parameters.items():
        root.register_parameter(name, parameter)
    for name, buffer in network._buffers.items():
        root.register_buffer(name, buffer, name not in network._non_persistent_buffers_set)


class Backbone(nn.Module):
    """The maps [N, out_channels, H, W] of one module of a network, as torchvision's detectors take them."""

    def __init__(self, network: nn.Module, layer: str, out_channels: int) -> None:
        super().__init__()
        self.network, self.out_channels = network, out_channels
        network.get_submodule(layer).register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, given: Any, maps: torch.Tensor) -> None:
        self._maps = maps

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.network(images)
        maps, self._maps = self._maps, images[:0]
        return maps


def take_over(network: nn.Module, tensors: dict[str, torch.Tensor]) -> list[str]:
    """Load what has the same names and shapes, such as torchvision's pretrained weights of a trunk; these names."""
    own = network.state_dict()
    fitting = {name: tensor for name, tensor in tensors.items() if name in own and own[name].shape == tensor.shape}
    network.load_state_dict(fitting, strict=False)
    return sorted(fitting)


def make_known(name: str, create: Any) -> str:
    """Register `create(pretrained)` with timm, where that is installed: `timm.create_model(name)`; the name."""

    def made(pretrained: bool = False, **_: Any) -> nn.Module:
        network: nn.Module = create(pretrained)
        return network

    made.__name__ = made.__qualname__ = name
    importlib.import_module("timm.models").register_model(made)
    return name


def fold(network: nn.Module, pairs: Sequence[tuple[str, str]]) -> nn.Module:
    """In place, in eval mode: each pair's batch norm goes into the convolution before it."""
    for conv, norm in pairs:
        first, second = network.get_submodule(conv), network.get_submodule(norm)
        assert isinstance(first, nn.Conv2d)
        assert isinstance(second, nn.BatchNorm2d)
        put(network, conv, fuse_conv_bn_eval(first, second))
        put(network, norm, nn.Identity())
    return network


def modules_beside(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Modules from files of that folder, by name. What they import is found there first, and nobody else's modules are
    hidden by theirs afterwards."""
    own = {path.stem for path in folder.iterdir()}

    def taken() -> dict[str, Any]:
        return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in own}

    others = taken()
    sys.path.insert(0, str(folder))
    try:
        return {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(folder))
        taken()
        sys.modules.update(others)
