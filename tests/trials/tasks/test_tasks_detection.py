"""Losses and detections are torchvision's own, on our backbones; decoding is timed apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from tasks_scenes import squares
from torch import nn
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator

from search_spaces import FusionChoice, InputSpec, SearchSpace
from search_spaces.networks.detection import DetectionNet, DetectorPlan, Head
from search_spaces.networks.pyramid import cifar_pyramid
from search_spaces.space import fusion_at
from trials.errors import TaskError
from trials.tasks import task_for
from trials.tasks.decoding import decoding_latency
from trials.tasks.detection import DetectionTask
from trials.trial import LatencyProtocol

SPEC = InputSpec(3, 64, 3)


def pair(head: Head, anchors: AnchorGenerator, detector: Callable[..., nn.Module]) -> tuple[DetectionNet, Any]:
    """Our dense network, and torchvision's whole detector over our backbone, with the same weights."""
    pyramid = cifar_pyramid(8, "pan").at_stride_4
    shapes = {point.name: point for point in pyramid.points(SPEC)}

    def fuse(name: str, channels: int) -> nn.Module:
        return fusion_at(shapes[name], FusionChoice("aff", 4))

    torch.manual_seed(0)
    plan = DetectorPlan(head, convolutions=1, extra_levels=False)
    network = DetectionNet(pyramid.plan, plan, SPEC.channels, SPEC.classes, fuse)
    for parameter in network.head.parameters():
        nn.init.normal_(parameter, std=0.1)  # scores on both sides of the threshold
    theirs = detector(
        pyramid.backbone(SPEC, fuse), 3, anchor_generator=anchors, head=network.head, min_size=64, max_size=64,
        image_mean=[0, 0, 0], image_std=[1, 1, 1], score_thresh=0.05,
    )  # fmt: skip
    theirs.backbone.load_state_dict(network.backbone.state_dict(), strict=True)
    return network, theirs


def theirs_and_ours(head: str) -> tuple[DetectionNet, Any]:
    strides = (4, 8, 16)
    if head == "fcos":
        return pair("fcos", AnchorGenerator(tuple((s,) for s in strides), ((1.0,),) * 3), FCOS)
    sizes = tuple((4 * s, int(4 * s * 2 ** (1 / 3)), int(4 * s * 2 ** (2 / 3))) for s in strides)
    return pair("retinanet", AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 3), RetinaNet)


@pytest.mark.parametrize("head", ["fcos", "retinanet"])
def test_losses_and_detections_are_those_of_torchvisions_detector(head: str) -> None:
    network, theirs = theirs_and_ours(head)
    task = DetectionTask(network, 64)
    pixels, targets = squares(6, 1).train.batch(range(6))
    images = (pixels / 255.0 - 0.15) / 0.2
    plain = [{"boxes": target["boxes"].as_subclass(torch.Tensor), "labels": target["labels"]} for target in targets]
    expected = theirs.train()(list(images), plain)
    loss = task.loss(network.train()(images), targets)
    torch.testing.assert_close(loss, sum(expected.values()), rtol=1e-5, atol=1e-5)
    theirs.backbone.load_state_dict(network.state_dict(), strict=False)
    with torch.inference_mode():
        detections = task.detections(network.eval()(images))
        found = theirs.eval()(list(images))
    assert sum(len(each["scores"]) for each in found) > 50
    for ours, other in zip(detections, found, strict=True):
        assert torch.equal(ours["labels"], other["labels"])
        torch.testing.assert_close(ours["boxes"], other["boxes"], rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(ours["scores"], other["scores"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet8-fpn-fcos", "resnet8-fpn-retinanet"])
def test_crowds_and_images_without_objects_teach_no_object(name: str) -> None:
    space = SearchSpace.named(name, SPEC)
    torch.manual_seed(0)
    network = space.build(space.baseline)
    assert isinstance(network, DetectionNet)
    task = DetectionTask(network, 64)
    data = squares(4, 1).train
    crowded = replace(data, crowd=torch.ones_like(data.crowd))
    empty = replace(
        data, first=torch.zeros(5, dtype=torch.int64), boxes=data.boxes[:0], labels=data.labels[:0],
        areas=data.areas[:0], crowd=data.crowd[:0],
    )  # fmt: skip
    outputs = network.eval()(data.images / 255.0)
    losses = [task.loss(outputs, split.batch(range(4))[1]) for split in (data, crowded, empty)]
    assert losses[1] == losses[2] < losses[0]
    losses[2].backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in network.parameters())


def test_a_network_and_data_that_do_not_belong_together_are_refused() -> None:
    def network(name: str, classes: int) -> nn.Module:
        space = SearchSpace.named(name, InputSpec(3, 64, classes))
        return space.build(space.baseline)

    boxes, maps = squares(2, 1), squares(2, 1, targets="semantic")
    with pytest.raises(TaskError, match="PyramidNet neither finds boxes nor maps pixels: give a space with a head"):
        task_for(network("resnet8-fpn", 3), boxes)
    with pytest.raises(TaskError, match="loaded with targets 'semantic': this network needs 'boxes'"):
        task_for(network("resnet8-fpn-fcos", 4), maps)
    with pytest.raises(TaskError, match="loaded with targets 'boxes': this network needs 'semantic'"):
        task_for(network("resnet8-fpn-semantic", 3), boxes)
    with pytest.raises(TaskError, match="tells 10 classes apart, but squares has 3: give the space an input of 3"):
        task_for(network("resnet8-fpn-fcos", 10), boxes)


def test_decoding_is_timed_apart_from_the_network() -> None:
    network, _ = theirs_and_ours("fcos")
    task = DetectionTask(network, 64)
    protocol = LatencyProtocol(warmup=1, passes=6, block=3, attempts=1)
    images = torch.rand(2, 3, 64, 64)
    latency = decoding_latency(network, task, images, protocol)
    latency.check()
    assert (latency.passes, latency.attempts) == (6, 1)
    assert latency.p50_ms != latency.reference_p50_ms
