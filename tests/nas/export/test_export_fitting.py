"""How images are fitted is exported: model.py's `fit` gives what training was given, and every artefact says it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy
import onnx
import pytest
import torch
from export_networks import trained_network
from PIL import Image
from safetensors import safe_open

from nas.export.formats.onnx_graph import write_onnx
from nas.export.generation import generate
from nas.export.standalone import fit_centre, fit_padded
from nas.export.trained import write_description, write_weights
from search_spaces import InputSpec
from trials.data.decoding import ImageFormat, decode_fitted, decode_image
from trials.data.fitting import PAD_GREY


def picture(folder: Path, width: int, height: int, mode: str, orientation: int) -> Path:
    """A file of noise; those of 16 bits a pixel as PNG, as TIFF of the other order of bytes, and as PGM (mode I)."""
    if mode.startswith("I"):
        return deep_picture(folder, width, height, mode, orientation)
    bands = len(Image.new(mode, (1, 1)).getbands())
    values = (
        numpy.random.default_rng(width)
        .integers(0, 256, (height, width, bands), numpy.uint8)
        .squeeze(-1 if bands == 1 else ())
    )
    image, exif = Image.fromarray(values, mode if mode != "P" else "L").convert(mode), Image.Exif()
    exif[0x0112] = orientation
    path = folder / f"{width}x{height}-{mode}-{orientation}.png"
    image.save(path, exif=exif)
    return path


def deep_picture(folder: Path, width: int, height: int, mode: str, orientation: int) -> Path:
    values = numpy.random.default_rng(width).integers(0, 65_536, (height, width), numpy.uint16)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = folder / f"{width}x{height}-{orientation}{ {'I;16': '.png', 'I;16B': '.tif', 'I': '.pgm'}[mode] }"
    image = Image.fromarray(values.astype(">u2") if mode == "I;16B" else values)
    image.save(path, **({} if mode == "I" else {"exif": exif}))  # PGM has none
    with Image.open(path) as saved:
        assert saved.mode == mode
    return path


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize(("width", "height"), [(96, 32), (32, 32), (31, 77), (20, 9)])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "I;16", "I;16B", "I"])
def test_it_is_what_training_was_given(tmp_path: Path, mode: str, width: int, height: int, orientation: int) -> None:
    path = picture(tmp_path, width, height, mode, orientation)
    for wanted in ("RGB", "L"):
        trained = decode_image(path, ImageFormat(32, wanted)).pixels
        fitted = fit_centre(Image.open(path), 32, wanted)
        # To a grey level: turning before or after resizing rounds otherwise.
        assert (fitted.int() - torch.from_numpy(trained.astype(int))).abs().max() <= 1
    padded = fit_padded(Image.open(path), 64, "RGB", PAD_GREY)
    seen = (height, width) if orientation == 6 and mode != "I" else (width, height)
    across, down = (max(round(side * 64 / max(seen)), 1) for side in seen)
    inside = torch.from_numpy(decode_fitted(path, across, down).astype(int))
    assert (padded[:, :down, :across].int() - inside).abs().max() <= 1
    assert set(padded[:, down:].flatten().tolist()) | set(padded[:, :, across:].flatten().tolist()) <= {PAD_GREY}


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_as_the_same_png_is(tmp_path: Path, orientation: int, compression: str | None) -> None:
    path = picture(tmp_path, 40, 24, "L", orientation)
    with Image.open(path) as image:
        image.save(path.with_suffix(".tif"), exif=image.getexif(), compression=compression)
    wanted = decode_fitted(path, 24, 40)
    numpy.testing.assert_array_equal(decode_fitted(path.with_suffix(".tif"), 24, 40), wanted)
    across, down = (40, 24) if orientation < 5 else (24, 40)
    padded = fit_padded(Image.open(path.with_suffix(".tif")), 40, "RGB", PAD_GREY)[:, :down, :across].numpy()
    numpy.testing.assert_array_equal(padded, decode_fitted(path, across, down))


@pytest.mark.parametrize("mode", ["I", "F"])
def test_images_of_no_known_scale_are_refused(mode: str) -> None:
    with pytest.raises(ValueError, match="more than 8 bits"):
        fit_centre(Image.new(mode, (40, 40)), 32, "L")


def test_each_level_of_16_bits_is_the_nearest_of_8() -> None:
    every = Image.fromarray(numpy.arange(65_536, dtype=numpy.uint16).reshape(256, 256))
    nearest = numpy.rint(numpy.arange(65_536) / 257).reshape(1, 256, 256)
    numpy.testing.assert_array_equal(fit_centre(every, 256, "L").numpy(), nearest)


@pytest.mark.parametrize(("channels", "words"), [(3, "in RGB."), (1, "in grey.")])
def test_every_artefact_says_it(tmp_path: Path, channels: int, words: str) -> None:
    trained = trained_network("resnet8", InputSpec(channels, 32, 4), {})
    said = (
        "Bring 16-bit grey to 8 bits (value / 257, rounded), turn the image as its EXIF orientation says, cut out its "
        f"largest centred square, resize that to 32 x 32 pixels, bilinear and antialiased, {words}"
    )
    write_description(trained, {}, {}, tmp_path / "arch.json")
    assert f'"fitting": "{said}"' in (tmp_path / "arch.json").read_text()
    network = trained.build()
    write_weights(trained, network, tmp_path)
    with safe_open(tmp_path / "weights.safetensors", framework="pt") as file:
        assert file.metadata()["fitting"] == said
    write_onnx(trained, network, tmp_path / "model.onnx")
    assert {p.key: p.value for p in onnx.load(tmp_path / "model.onnx").metadata_props}["fitting"] == said
    source = generate(trained)
    assert source.packages == ["torch"]
    assert said in " ".join(source.text.split())
    (tmp_path / "model.py").write_text(source.text)
    spec = importlib.util.spec_from_file_location("exported_model", tmp_path / "model.py")
    model = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(model)
    path = picture(tmp_path, 96, 40, "RGB", 1)
    trained_on = decode_image(path, ImageFormat(32, "RGB" if channels == 3 else "L")).pixels
    assert torch.equal(model.fit(Image.open(path)), torch.from_numpy(trained_on.copy()))
    assert model.load()(model.preprocess(model.fit(Image.open(path))[None])).shape == (1, 4)
