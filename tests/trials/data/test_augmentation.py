"""Augmentation: each output is one crop of the padded, perhaps mirrored input, drawn evenly and repeatably."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from trials.data import augment, normalise
from trials.data.augmentation import cut_out, jitter_colour, mix


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_images(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=seeded(99))


def drawn(images: int, seed: int = 0, numbers: int = 3) -> Tensor:
    return torch.rand((numbers, images), generator=seeded(seed))


def slow_reference(images: Tensor, draws: Tensor, pad: int, flip: bool) -> Tensor:
    """Image by image with torch's own flip, reflect padding and slicing."""
    out = []
    for image, (down, right, mirror) in zip(images, draws.T.tolist(), strict=True):
        height, width = image.shape[1:]
        padded = functional.pad(image[None].double(), (pad,) * 4, mode="reflect")[0].to(torch.uint8) if pad else image
        top, left = int(down * (2 * pad + 1)), int(right * (2 * pad + 1))
        crop = padded[:, top : top + height, left : left + width]
        out.append(crop.flip(2) if flip and mirror < 0.5 else crop)
    return torch.stack(out)


@pytest.mark.parametrize("shape", [(64, 1, 28, 28), (64, 3, 32, 32), (16, 3, 9, 14), (1, 1, 8, 8)])
@pytest.mark.parametrize("pad", [0, 1, 4, 7])
@pytest.mark.parametrize("flip", [False, True])
def test_equals_the_slow_reference(shape: tuple[int, ...], pad: int, flip: bool) -> None:
    images = random_images(*shape)
    fast = augment(images, drawn(len(images), 5), pad, flip)
    assert fast.dtype == torch.uint8
    assert torch.equal(fast, slow_reference(images, drawn(len(images), 5), pad, flip))


def test_each_output_is_a_crop_of_the_padded_input_or_its_mirror_image() -> None:
    images = random_images(32, 3, 10, 10)
    pad = 2
    padded = functional.pad(images.double(), (pad,) * 4, mode="reflect").to(torch.uint8)
    for out, source in zip(augment(images, drawn(32), pad), padded, strict=True):
        crops = [source[:, y : y + 10, x : x + 10] for y in range(2 * pad + 1) for x in range(2 * pad + 1)]
        assert any(torch.equal(out, crop) or torch.equal(out.flip(2), crop) for crop in crops)


def test_shifts_and_flips_are_drawn_evenly_and_independently() -> None:
    count, pad, side = 20_000, 1, 8
    place = torch.arange(side * side, dtype=torch.uint8).view(1, 1, side, side)
    out = augment(place.expand(count, 1, side, side), drawn(count, 3), pad)[:, 0]
    mirrored = out[:, 4, 4].int() < out[:, 4, 3].int()
    centre = torch.where(mirrored, out[:, 4, 3], out[:, 4, 4]).int()
    outcome = (centre // side - 3) * 6 + (centre % side - 3) * 2 + mirrored.int()
    counts = torch.bincount(outcome, minlength=18)
    assert len(counts) == 18  # 3 rows x 3 columns x 2
    expected = count / 18
    assert ((counts - expected).abs() < 5 * expected**0.5).all(), counts


def test_no_pad_and_no_flip_returns_the_input() -> None:
    images = random_images(4, 1, 8, 8)
    assert augment(images, drawn(4), pad=0, flip=False) is images


def test_the_input_is_left_as_it_was_and_layouts_do_not_matter() -> None:
    images = random_images(8, 3, 12, 12)
    before = images.clone()
    out = augment(images, drawn(8), 3)
    assert torch.equal(images, before)
    assert torch.equal(augment(images.to(memory_format=torch.channels_last), drawn(8), 3), out)


def test_an_empty_batch_is_allowed() -> None:
    assert augment(random_images(0, 3, 8, 8), drawn(0), 2).shape == (0, 3, 8, 8)


@pytest.mark.parametrize("pad", [-1, 8])
def test_an_impossible_pad_is_named(pad: int) -> None:
    with pytest.raises(ValueError, match=rf"pad is {pad}: it must be from 0 to 7 for 8x9 images"):
        augment(random_images(2, 1, 8, 9), drawn(2), pad)


@pytest.mark.gpu
def test_the_device_does_not_change_the_result() -> None:
    images, draws = random_images(32, 3, 32, 32), drawn(32, 4)
    assert torch.equal(augment(images.cuda(), draws.cuda(), 4).cpu(), augment(images, draws, 4))


def test_normalise_gives_zero_mean_and_unit_spread_per_channel() -> None:
    images = random_images(64, 3, 16, 16)
    scaled = images.double() / 255
    mean, std = scaled.mean((0, 2, 3)), scaled.std((0, 2, 3), correction=0)
    out = normalise(images, mean, std)
    assert out.dtype == torch.float32
    assert out.shape == images.shape
    expected = (scaled - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)
    torch.testing.assert_close(out.double(), expected, atol=1e-5, rtol=1e-5)
    assert out.mean((0, 2, 3)).abs().max() < 1e-4


def test_normalise_keeps_channels_last() -> None:
    images = random_images(4, 3, 8, 8).to(memory_format=torch.channels_last)
    out = normalise(images, torch.zeros(3), torch.ones(3))
    assert out.is_contiguous(memory_format=torch.channels_last)


# ---- colour, cutout, mixup, each against its definition


@pytest.mark.parametrize("channels", [1, 3])
def test_colours_are_varied_as_torchvision_does_image_by_image(channels: int) -> None:
    from torchvision.transforms import functional as reference

    images = random_images(24, channels, 9, 12)
    draws = drawn(24, 4)
    out = jitter_colour(images, draws, 0.8)
    for image, found, factors in zip(images, out, (1 + 0.8 * (2 * draws - 1)).T.tolist(), strict=True):
        expected = reference.adjust_brightness(image / 255, factors[0])
        expected = reference.adjust_contrast(expected, factors[1])
        if channels == 3:
            expected = reference.adjust_saturation(expected, factors[2])
        assert (found.double() - 255 * expected.double()).abs().max() <= 0.51  # of rounding
    assert torch.equal(jitter_colour(images, draws, 0.0), images)
    with pytest.raises(ValueError, match="it must be from 0 to 1"):
        jitter_colour(images, draws, 1.5)


@pytest.mark.parametrize("side", [1, 4, 5, 11])
def test_a_square_around_a_pixel_is_cut_out_as_far_as_it_is_inside(side: int) -> None:
    inputs = torch.randn(200, 2, 9, 12, generator=seeded(1)) + 10
    centres = drawn(200, 6, numbers=2)
    found = cut_out(inputs.clone(), centres, side)
    for image, out, y, x in zip(inputs, found, (centres[0] * 9).long(), (centres[1] * 12).long(), strict=True):
        top, left = int(y) - side // 2, int(x) - side // 2
        expected = image.clone()
        expected[:, max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = 0
        assert torch.equal(out, expected)
    one = cut_out(torch.ones(5000, 1, 8, 8), drawn(5000, 2, numbers=2), 1)
    assert (one == 0).sum(0).min() > 40  # every pixel is somebody's centre: 78 on average


def test_images_are_mixed_by_their_share() -> None:
    inputs, order = torch.randn(6, 3, 4, 4, generator=seeded(1)), torch.tensor([3, 2, 1, 0, 5, 4])
    torch.testing.assert_close(mix(inputs, order, torch.tensor(0.3)), 0.3 * inputs + 0.7 * inputs[order])
    assert torch.equal(mix(inputs, order, torch.tensor(1.0)), inputs)
