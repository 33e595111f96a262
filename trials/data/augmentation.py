"""Augmentation and normalisation of whole uint8 batches, on whatever device they are."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from torch import Tensor


def normalise(
    images: UInt8[Tensor, "b c h w"], mean: Float[Tensor, " c"], std: Float[Tensor, " c"]
) -> Float32[Tensor, "b c h w"]:
    """Scale uint8 [B, C, H, W] to 0..1, subtract `mean` [C] and divide by `std` [C]; float32 [B, C, H, W].

    The result is on the images' device and in their memory format; keep `mean` and `std` there too, or every call
    moves them.
    """
    mean = mean.to(images.device, torch.float32).view(-1, 1, 1)
    std = std.to(images.device, torch.float32).view(-1, 1, 1)
    # one multiply and one add in place, instead of three passes with a temporary each
    return images.to(torch.float32).mul_(1.0 / (255.0 * std)).sub_(mean / std)


def augment(
    images: UInt8[Tensor, "b c h w"], draws: Float32[Tensor, "3 b"], pad: int, flip: bool = True
) -> UInt8[Tensor, "b c h w"]:
    """Random crop after reflect-padding by `pad` pixels, and random horizontal flip, each image's own.

    images: uint8 [B, C, H, W] on any device. Returns uint8 of the same shape, on the same device.
    draws: numbers from 0 to 1, float32 [3, B], on the same device: of rows, of columns and of the flip. They are the
        same ones whatever `pad`, `flip` and C are, so candidates stay in step.
    With pad=0 and flip=False the input itself is returned.
    Raises ValueError when `pad` is negative or does not leave a reflection (pad >= H or pad >= W).
    """
    batch, channels, height, width = images.shape
    if not 0 <= pad < min(height, width):
        raise ValueError(f"pad is {pad}: it must be from 0 to {min(height, width) - 1} for {height}x{width} images")
    if batch == 0 or (pad == 0 and not flip):
        return images
    device = images.device
    shift = (draws[:2] * (2 * pad + 1)).long().clamp_(max=2 * pad)  # clamp: float rounding may reach 2 * pad + 1
    # [B, H] and [B, W]: the source row of each row, the source column of each column
    rows = _reflected(height, pad, device)[shift[0, :, None] + torch.arange(height, device=device)]
    columns = _reflected(width, pad, device)[shift[1, :, None] + torch.arange(width, device=device)]
    if flip:
        columns = torch.where(draws[2, :, None] < 0.5, columns.flip(1), columns)
    # One gather straight from the unpadded pixels: six times faster than indexing with four index tensors.
    flat = (rows[:, :, None] * width + columns[:, None, :]).view(batch, 1, height * width)
    pixels = images.reshape(batch, channels, height * width)
    return pixels.gather(2, flat.expand(-1, channels, -1)).view(batch, channels, height, width)


def _reflected(size: int, pad: int, device: torch.device) -> Int64[Tensor, " places"]:
    """int64 [size + 2 * pad]: the pixel that reflect-padding puts at each place (the edge is not repeated)."""
    place = torch.arange(-pad, size + pad, device=device).abs()
    return torch.where(place >= size, 2 * (size - 1) - place, place)


def jitter_colour(
    images: UInt8[Tensor, "b c h w"], draws: Float32[Tensor, "3 b"], strength: float
) -> UInt8[Tensor, "b c h w"]:
    """Brightness, then contrast, then saturation of each image scaled by a factor from 1 - strength to 1 + strength.

    images: uint8 [B, C, H, W] on any device, C 1 or 3 (grey images have no saturation). Returns uint8 of that shape.
    draws: numbers from 0 to 1, float32 [3, B], on the same device.
    The adjustments are those of torchvision's `adjust_brightness`, `adjust_contrast` and `adjust_saturation`.
    Raises ValueError when `strength` is not from 0 to 1.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength is {strength}: it must be from 0 to 1")
    brightness, contrast, saturation = 1 + strength * (2 * draws[:, :, None, None, None] - 1)
    pixels = images.to(torch.float32).mul_(brightness).clamp_(0, 255)
    pixels = torch.lerp(_grey(pixels).mean((1, 2, 3), keepdim=True), pixels, contrast).clamp_(0, 255)
    if images.shape[1] == 3:
        pixels = torch.lerp(_grey(pixels), pixels, saturation).clamp_(0, 255)
    return pixels.round_().to(torch.uint8)


def _grey(pixels: Float32[Tensor, "b c h w"]) -> Float32[Tensor, "b 1 h w"]:
    """Luma [B, 1, H, W] of [B, C, H, W] (ITU-R 601-2, as in PIL)."""
    if pixels.shape[1] == 1:
        return pixels
    red, green, blue = pixels.unbind(1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue)[:, None]


def cut_out(inputs: Float[Tensor, "b c h w"], draws: Float32[Tensor, "2 b"], side: int) -> Float[Tensor, "b c h w"]:
    """Set a square of `side` pixels of each image to 0, in place: Cutout, DeVries and Taylor 2017.

    inputs: normalised, float [B, C, H, W], so that 0 is the mean. Returns them.
    draws: numbers from 0 to 1, float32 [2, B], on the same device: of the row and the column of the square's centre,
        which may be any pixel; what of the square lies outside the image is not there.
    """
    height, width = inputs.shape[2:]

    def covered(centres: Float32[Tensor, " b"], size: int) -> Bool[Tensor, "b size"]:
        first = (centres * size).long().clamp_(max=size - 1) - side // 2
        place = torch.arange(size, device=inputs.device)
        return (place >= first[:, None]) & (place < first[:, None] + side)

    rows, columns = covered(draws[0], height), covered(draws[1], width)
    return inputs.masked_fill_(rows[:, None, :, None] & columns[:, None, None, :], 0.0)


def mix(inputs: Float[Tensor, "b ..."], order: Int64[Tensor, " b"], share: Float[Tensor, ""]) -> Float[Tensor, "b ..."]:
    """share * inputs + (1 - share) * inputs[order]: mixup, Zhang et al. 2018. Same shape as `inputs` [B, ...].

    `share` is a tensor [] from 0 to 1.
    """
    return torch.lerp(inputs[order], inputs, share)
