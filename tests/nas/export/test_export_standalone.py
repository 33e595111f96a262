"""The reader that model.py carries takes what safetensors writes, and nothing that is malformed."""

from __future__ import annotations

import pytest
import torch
from export_networks import safetensors_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from nas.export.standalone import MAX_HEADER_BYTES, normalise, read_safetensors

FOUR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
TENSORS = {
    "a": torch.arange(6.0).view(2, 3),
    "scalar": torch.tensor(3),
    "flags": torch.tensor([True, False, True]),
    "empty": torch.zeros(0, 4),
}
GOOD = save(TENSORS, {"format": "pt"})


def read(tmp_path, content: bytes):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    return read_safetensors(path)


def test_reads_what_safetensors_writes(tmp_path):
    tensors = read(tmp_path, GOOD)
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


@pytest.mark.parametrize("end", [0, 4, 8, 9, 40, len(GOOD) - 1])
def test_refuses_a_truncated_file(tmp_path, end):
    with pytest.raises(ValueError, match="safetensors file"):
        read(tmp_path, GOOD[:end])


@pytest.mark.parametrize(
    "content",
    [
        safetensors_bytes({}, b"", length=2**63),
        safetensors_bytes({}, b"", length=MAX_HEADER_BYTES + 1) + b" " * (MAX_HEADER_BYTES + 10),
        safetensors_bytes({"a": FOUR}, b"1234", length=1000),
        safetensors_bytes({"a": FOUR}, b"12345"),
        safetensors_bytes({"a": {**FOUR, "data_offsets": [0, 8]}}, b"1234"),
        safetensors_bytes({"a": {**FOUR, "data_offsets": [4, 8]}}, b"12345678"),
        safetensors_bytes({"a": {**FOUR, "data_offsets": [-4, 0]}}, b"1234"),
        safetensors_bytes({"a": {**FOUR, "data_offsets": [0]}}, b"1234"),
        safetensors_bytes({"a": {**FOUR, "data_offsets": [0, "4"]}}, b"1234"),
        safetensors_bytes({"a": {**FOUR, "data_offsets": [0, 4.0]}}, b"1234"),
        safetensors_bytes({"a": {**FOUR, "shape": [2]}}, b"1234"),
        safetensors_bytes({"a": {**FOUR, "shape": [-1, -1]}}, b"1234"),
        safetensors_bytes({"a": {**FOUR, "shape": [True]}}, b"1234"),
        safetensors_bytes({"a": {**FOUR, "shape": [10**30, 0]}}, b"1234"),
        safetensors_bytes({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}, b"1234"),
        safetensors_bytes({"a": {**FOUR, "dtype": "F16", "shape": [2]}}, b"1234"),
        safetensors_bytes({"a": {**FOUR, "dtype": ["F32"]}}, b"1234"),
        safetensors_bytes({"a": {**FOUR, "code": "x"}}, b"1234"),
        safetensors_bytes({"a": FOUR, "b": FOUR}, b"1234"),
        safetensors_bytes({"a": 3}, b""),
        safetensors_bytes([], b""),
        safetensors_bytes(b'{"a": 1, "a": 1}', b""),
        safetensors_bytes(b"\xff\xfe", b""),
        safetensors_bytes(b"[" * 100_000, b""),
    ],
)
def test_refuses_a_malformed_file(tmp_path, content):
    with pytest.raises(ValueError, match="safetensors file"):
        read(tmp_path, content)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_a_changed_byte_is_read_or_refused(tmp_path_factory, index, value):
    content = bytearray(GOOD)
    content[index] = value
    try:
        tensors = read(tmp_path_factory.mktemp("changed"), bytes(content))
    except ValueError:
        return
    assert sum(tensor.numel() * tensor.itemsize for tensor in tensors.values()) <= len(GOOD)


def test_scales_per_channel():
    images = torch.tensor([0, 255], dtype=torch.uint8).view(1, 2, 1, 1)
    assert normalise(images, (0.5, 0.0), (0.5, 2.0)).flatten().tolist() == [-1.0, 0.5]


@pytest.mark.parametrize("images", [torch.zeros(1, 1, 2, 2), torch.zeros(1, 3, 2, 2).byte(), torch.zeros(2, 2).byte()])
def test_refuses_other_images(images):
    with pytest.raises(ValueError, match="images must be uint8"):
        normalise(images, (0.5,), (0.5,))
