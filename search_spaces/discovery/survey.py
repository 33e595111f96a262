"""What discovery finds in eleven torchvision networks, as data and as one table: `nas discover --survey`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from search_spaces.discovery.rewriting import largest_difference
from search_spaces.discovery.space import examine
from search_spaces.errors import SpaceError
from search_spaces.space import DEFAULT_OPERATORS, DEFAULT_REDUCTIONS


def _classifier(name: str, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import torchvision

        model: nn.Module = torchvision.models.get_model(name, weights=None, **options)
        return model

    return build


def _fcn_backbone() -> nn.Module:
    import torchvision

    network = torchvision.models.segmentation.fcn_resnet50(weights=None, weights_backbone=None)
    backbone: nn.Module = network.backbone
    return backbone


def _fpn_backbone() -> nn.Module:
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    backbone: nn.Module = resnet_fpn_backbone(backbone_name="resnet50", weights=None, norm_layer=nn.BatchNorm2d)
    return backbone


#: Randomly initialised; nothing is downloaded.
SURVEYED: dict[str, Callable[[], nn.Module]] = {
    "resnet18": _classifier("resnet18"),
    "resnet50": _classifier("resnet50"),
    "regnet_y_400mf": _classifier("regnet_y_400mf"),
    "densenet121": _classifier("densenet121"),
    "googlenet": _classifier("googlenet", aux_logits=False, init_weights=False),
    "mobilenet_v2": _classifier("mobilenet_v2"),
    "mobilenet_v3_small": _classifier("mobilenet_v3_small"),
    "efficientnet_b0": _classifier("efficientnet_b0"),
    "convnext_tiny": _classifier("convnext_tiny"),
    "fcn_resnet50 backbone": _fcn_backbone,
    "resnet50-fpn backbone": _fpn_backbone,
}


def enliven(model: nn.Module, images: torch.Tensor) -> None:
    """Give batch norms the statistics of [B, 3, H, W] and layer scales a size that is seen.

    Untrained networks otherwise compute next to nothing in evaluation, and any two of them look alike.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("layer_scale"):
                parameter.fill_(0.5)
        model.train()(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def survey(
    models: Sequence[str] = tuple(SURVEYED),
    operators: Sequence[str] = DEFAULT_OPERATORS,
    reductions: Sequence[int] = DEFAULT_REDUCTIONS,
    *,
    pixels: int = 64,
) -> Iterator[dict[str, Any]]:
    """For each network: merges found, points by kind, reasons for the others, size, exactness.

    `difference` holds max |all-add − original| in evaluation and in training, on two random images, for weights that
    `enliven` made speak up. A network that cannot be traced has `error`, the reason, instead.
    """
    for name in models:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model, images = SURVEYED[name](), torch.randn(2, 3, pixels, pixels)
            enliven(model, images)
        try:
            space = examine(model, images, operators, reductions, name=name)
        except SpaceError as error:
            yield {"model": name, "error": str(error)}
            continue
        network = space.build(space.baseline)
        yield {
            "model": name,
            "merges": len(space.points) + len(space.not_varied),
            "points": dict(Counter(point.shape.kind for point in space.points)),
            "not_varied": dict(Counter(place.reason for place in space.not_varied)),
            "size": space.size,
            "difference": {
                "evaluation": largest_difference(model, network, images),
                "training": largest_difference(model, network, images, training=True),
            },
        }
