"""What it takes to make detections of a network's outputs: apart from the network's own latency."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trials.latency.passes import wall_clock
from trials.latency.runtimes import eager
from trials.latency.timing import measure
from trials.machine.device import lock_name, synchronise
from trials.tasks.detection import DetectionTask
from trials.trial import Latency, LatencyProtocol


def decoding_latency(network: nn.Module, task: DetectionTask, images: Tensor, protocol: LatencyProtocol) -> Latency:
    """Decoding and non-maximum suppression of a batch, measured in turn with the network's own eager pass.

    images: float32 [B, C, S, S] on the network's device, as `network_inputs` gives them. The figure grows with what
    there is to find: it means something of a trained network and real images alone.
    """
    finish = synchronise(images.device)
    with torch.inference_mode():
        outputs = network.eval()(images)

    def decode() -> None:
        task.detections(outputs)
        finish()

    return measure(wall_clock(decode), eager(network, images), protocol, device=lock_name(images.device))
