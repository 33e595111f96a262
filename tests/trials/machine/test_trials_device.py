"""Devices: which there are, what is said of those that are not, and what a report says of them."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from trials.errors import DeviceError
from trials.machine.device import (
    check_name,
    environment,
    has_bf16,
    in_bfloat16,
    nearest,
    on_device,
    resolve,
    synchronise,
)


def test_auto_is_the_best_there_is() -> None:
    assert resolve("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["", "gpu", "cuda:x", "cuda:-1", "mps", "meta", "CPU", "cpu cuda"])
def test_what_is_no_device(name: str) -> None:
    with pytest.raises(DeviceError, match="give auto, cpu, cuda or cuda:N") as error:
        resolve(name)
    assert repr(name) in str(error.value)
    with pytest.raises(DeviceError, match="give auto, cpu, cuda or cuda:N"):
        check_name(name)
    with pytest.raises(DeviceError, match="give auto, cpu, cuda or cuda:N"):
        nearest(name)


def test_a_device_that_is_not_there() -> None:
    count = torch.cuda.device_count()
    with pytest.raises(DeviceError, match=f"'cuda:{count}' is not there: this machine has {count} CUDA devices"):
        resolve(f"cuda:{count}")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a CUDA device")
def test_cuda_without_cuda() -> None:
    with pytest.raises(DeviceError, match="'cuda' is not there"):
        resolve("cuda")


def test_a_head_need_not_have_what_its_workers_have() -> None:
    absent = f"cuda:{torch.cuda.device_count()}"
    check_name(absent)
    assert nearest(absent) == nearest("cpu") == torch.device("cpu")
    assert nearest("auto") == resolve("auto")


def test_a_network_moves_in_channels_last() -> None:
    network = on_device(nn.Conv2d(3, 8, 3), torch.device("cpu"))
    weight = network.get_parameter("weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)
    synchronise(torch.device("cpu"))()


def test_the_environment_is_recorded() -> None:
    recorded = environment(torch.device("cpu"))
    assert json.loads(json.dumps(recorded)) == recorded
    assert recorded["device"]
    assert torch.__version__ in recorded["runtime"]
    assert recorded["threads"] == torch.get_num_threads()


def test_a_precision_that_is_given_is_taken_whatever_the_hardware_does() -> None:
    cpu = torch.device("cpu")
    assert in_bfloat16("bfloat16", cpu)
    assert not in_bfloat16("float32", cpu)
    assert in_bfloat16("auto", cpu) == has_bf16(cpu)
