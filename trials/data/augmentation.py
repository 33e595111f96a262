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


def jitter_colour(images: Tensor, generator: torch.Generator, strength: float) -> Tensor:
    """Brightness, then contrast, then saturation of each image scaled by a factor from 1 - strength to 1 + strength.

    images: uint8 [B, C, H, W] on any device, C 1 or 3 (grey images have no saturation). Returns uint8 of that shape.
    generator: a CPU generator, of which three numbers an image are taken.
    The adjustments are those of torchvision's `adjust_brightness`, `adjust_contrast` and `adjust_saturation`.
    Raises ValueError when `strength` is not from 0 to 1.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength is {strength}: it must be from 0 to 1")
    draws = torch.rand((3, len(images), 1, 1, 1), generator=generator).to(images.device)
    brightness, contrast, saturation = 1 + strength * (2 * draws - 1)
    pixels = images.to(torch.float32).mul_(brightness).clamp_(0, 255)
    pixels = torch.lerp(_grey(pixels).mean((1, 2, 3), keepdim=True), pixels, contrast).clamp_(0, 255)
    if images.shape[1] == 3:
        pixels = torch.lerp(_grey(pixels), pixels, saturation).clamp_(0, 255)
    return pixels.round_().to(torch.uint8)


def _grey(pixels: Tensor) -> Tensor:
    """Luma [B, 1, H, W] of [B, C, H, W] (ITU-R 601-2, as in PIL)."""
    if pixels.shape[1] == 1:
        return pixels
    return torch.einsum("bchw,c->bhw", pixels, pixels.new_tensor([0.2989, 0.587, 0.114]))[:, None]


def cut_out(inputs: Tensor, generator: torch.Generator, side: int) -> Tensor:
    """Set a square of `side` pixels of each image to 0, in place: Cutout, DeVries and Taylor 2017.

    inputs: normalised, float [B, C, H, W], so that 0 is the mean. Returns them.
    generator: a CPU generator. The square's centre may be any pixel; what of it lies outside the image is not there.
    """
    batch, _, height, width = inputs.shape
    draws = torch.rand((2, batch), generator=generator)

    def covered(centres: Tensor, size: int) -> Tensor:
        first = (centres * size).long().clamp_(max=size - 1) - side // 2
        place = torch.arange(size)
        return (place >= first[:, None]) & (place < first[:, None] + side)

    rows, columns = (covered(draw, size).to(inputs.device) for draw, size in zip(draws, (height, width), strict=True))
    return inputs.masked_fill_(rows[:, None, :, None] & columns[:, None, None, :], 0.0)


def mix(inputs: Tensor, order: Tensor, share: float) -> Tensor:
    """share * inputs + (1 - share) * inputs[order]: mixup, Zhang et al. 2018. Same shape as `inputs` [B, ...]."""
    return torch.lerp(inputs[order], inputs, share)
