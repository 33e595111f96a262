"""Augmentation and normalisation of whole uint8 batches, on whatever device they are."""

from __future__ import annotations

import torch
from torch import Tensor


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Scale uint8 [B, C, H, W] to 0..1, subtract `mean` [C] and divide by `std` [C]; float32 [B, C, H, W].

    The result is on the images' device and in their memory format; keep `mean` and `std` there too, or every call
    moves them.
    """
    mean = mean.to(images.device, torch.float32).view(-1, 1, 1)
    std = std.to(images.device, torch.float32).view(-1, 1, 1)
    # one multiply and one add in place, instead of three passes with a temporary each
    return images.to(torch.float32).mul_(1.0 / (255.0 * std)).sub_(mean / std)


def augment(images: Tensor, generator: torch.Generator, pad: int, flip: bool = True) -> Tensor:
    """Random crop after reflect-padding by `pad` pixels, and random horizontal flip, drawn anew for each image.

    images: uint8 [B, C, H, W] on any device. Returns uint8 of the same shape, on the same device.
    generator: a CPU generator. All random numbers come from it, so the result does not depend on the device; an
        augmenting call takes the same numbers whatever `pad`, `flip` and C are, so candidates stay in step.
    With pad=0 and flip=False the input itself is returned, and nothing is drawn.
    Raises ValueError when `pad` is negative or does not leave a reflection (pad >= H or pad >= W).
    """
    batch, channels, height, width = images.shape
    if not 0 <= pad < min(height, width):
        raise ValueError(f"pad is {pad}: it must be from 0 to {min(height, width) - 1} for {height}x{width} images")
    if batch == 0 or (pad == 0 and not flip):
        return images
    draws = torch.rand((3, batch), generator=generator)
    shift = (draws[:2] * (2 * pad + 1)).long().clamp_(max=2 * pad)  # clamp: float rounding may reach 2 * pad + 1
    rows = _reflected(height, pad)[shift[0, :, None] + torch.arange(height)]  # [B, H]: source row of each row
    columns = _reflected(width, pad)[shift[1, :, None] + torch.arange(width)]  # [B, W]
    if flip:
        columns = torch.where(draws[2, :, None] < 0.5, columns.flip(1), columns)
    # One gather straight from the unpadded pixels: six times faster than indexing with four index tensors.
    rows, columns = rows.to(images.device), columns.to(images.device)
    flat = (rows[:, :, None] * width + columns[:, None, :]).view(batch, 1, height * width)
    pixels = images.reshape(batch, channels, height * width)
    return pixels.gather(2, flat.expand(-1, channels, -1)).view(batch, channels, height, width)


def _reflected(size: int, pad: int) -> Tensor:
    """int64 [size + 2 * pad]: the pixel that reflect-padding puts at each place (the edge is not repeated)."""
    place = torch.arange(-pad, size + pad).abs()
    return torch.where(place >= size, 2 * (size - 1) - place, place)
