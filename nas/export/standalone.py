"""What an exported model.py carries besides the network: its weights' reader, its input's scaling, a builder's tool.

Needs torch alone. These very functions are written into model.py.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

#: More than any network's list of tensors takes; a larger one is not a header.
MAX_HEADER_BYTES = 16 * 1024 * 1024
DTYPES = {
    "F32": torch.float32,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file: header length (8 bytes, little-endian), JSON header, bytes of the tensors.

    Raises:
        ValueError: the file is not exactly that, or holds another dtype than those of DTYPES.
    """
    content = bytearray(path.read_bytes())
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(MAX_HEADER_BYTES, len(content) - 8):
        raise ValueError(f"{path}: not a safetensors file, or cut short")
    try:
        header = json.loads(content[8 : 8 + length].decode(), object_pairs_hook=unique_keys)
        header.pop("__metadata__", None)
        entries = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
        end = 8 + length
        tensors = {}
        for name, entry in entries:
            start, end = end, end + tensor_bytes(entry, end - 8 - length)
            if end > len(content):
                raise ValueError(f"{name} ends behind the end of the file")
            dtype, shape = DTYPES[entry["dtype"]], entry["shape"]
            empty = start == end  # torch.frombuffer takes no empty range
            flat = torch.empty(0, dtype=dtype) if empty else torch.frombuffer(content[start:end], dtype=dtype)
            tensors[name] = flat.reshape(shape)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, RuntimeError) as error:
        raise ValueError(f"{path}: malformed safetensors file: {error}") from None
    if end != len(content):
        raise ValueError(f"{path}: malformed safetensors file: {len(content) - end} bytes belong to no tensor")
    return tensors


def tensor_bytes(entry: dict[str, Any], offset: int) -> int:
    """The size of a header's entry, which must begin at `offset` of the data: no gaps, no overlaps."""
    if set(entry) != {"dtype", "shape", "data_offsets"} or entry["dtype"] not in DTYPES:
        raise ValueError(f"not an entry of dtype {', '.join(DTYPES)}: {str(entry)[:80]}")
    numbers = [*entry["shape"], *entry["data_offsets"]]
    if not all(type(number) is int and 0 <= number < 2**48 for number in numbers):
        raise ValueError(f"not a shape and offsets: {str(entry)[:80]}")
    size: int = math.prod(entry["shape"]) * DTYPES[entry["dtype"]].itemsize
    if entry["data_offsets"] != [offset, offset + size]:
        raise ValueError(f"offsets {entry['data_offsets']} where [{offset}, {offset + size}] belong")
    return size


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object of which no key is given twice."""
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a name is given twice")
    return dict(pairs)


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
