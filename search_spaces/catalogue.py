"""The named networks. To add one: a design in `networks/`, a line here.

Named are classifiers. Every pyramid has detectors and a segmenter beside it: `resnet8-fpn-fcos`,
`resnet50-pan-retinanet`, `resnet18-bifpn-semantic`.
"""

from __future__ import annotations

from search_spaces.errors import SpaceError, unknown
from search_spaces.networks import (
    GoogLeNetDesign,
    InceptionDesign,
    NetworkDesign,
    PyramidDesign,
    cifar_pyramid,
    cifar_resnet,
    imagenet_pyramid,
    imagenet_resnet,
    resnext50,
)
from search_spaces.references import is_reference
from search_spaces.user_file import load_object

_DESIGNS: dict[str, NetworkDesign] = {
    **{f"resnet{depth}": cifar_resnet(depth) for depth in (8, 14, 20, 32, 56)},
    "inception-cifar": InceptionDesign(),
    **{f"resnet{depth}-fpn": cifar_pyramid(depth, "fpn") for depth in (8, 20)},
    **{f"resnet{depth}-pan": cifar_pyramid(depth, "pan") for depth in (8, 20)},
    "resnet20-bifpn": cifar_pyramid(20, "bifpn"),
    **{f"resnet{depth}": imagenet_resnet(depth) for depth in (18, 34, 50, 101)},
    "resnext50": resnext50(),
    "googlenet": GoogLeNetDesign(),
    **{f"resnet{depth}-fpn": imagenet_pyramid(depth, "fpn") for depth in (18, 34, 50)},
    "resnet18-pan": imagenet_pyramid(18, "pan"),
    "resnet18-bifpn": imagenet_pyramid(18, "bifpn"),
}

#: What can stand on a pyramid in place of its classifier; FCOS and RetinaNet find boxes, the semantic FPN maps.
HEADS = ("fcos", "retinanet", "semantic")


def design(name: str) -> NetworkDesign:
    """The network design of that name, or the one that a reference is to: FILE.py:OBJECT or torchvision:NAME.

    Raises:
        SpaceError: unknown (with the nearest known name), or the object is neither a design nor a network.
    """
    if is_reference(name):
        found = load_object(name)
        if not isinstance(found, type) and all(callable(getattr(found, part, None)) for part in ("points", "build")):
            own: NetworkDesign = found
            return own
        if not callable(found):
            raise SpaceError(
                f"{name} is a {type(found).__name__}; expected a network design (with points and build), such as "
                "ResNetDesign(...), an nn.Module, or a callable that returns one"
            )
    if ":" in name:
        from search_spaces.discovery.reference import ReferencedDesign

        return ReferencedDesign(name)
    pyramid, _, head = name.rpartition("-")
    if head in HEADS:
        return _with_head(pyramid, head)
    if name not in _DESIGNS:
        raise unknown("space", name, _DESIGNS)
    return _DESIGNS[name]


def _with_head(name: str, head: str) -> NetworkDesign:
    from search_spaces.networks import dense  # torchvision's detectors take a second to import

    pyramid = _DESIGNS.get(name)
    if not isinstance(pyramid, PyramidDesign):
        pyramids = [known for known, found in _DESIGNS.items() if isinstance(found, PyramidDesign)]
        raise unknown(f"pyramid for a head {head!r}", name, pyramids)
    if head == "semantic":
        return dense.segmenter(pyramid)
    return dense.detector(pyramid, "fcos" if head == "fcos" else "retinanet")


def names() -> tuple[str, ...]:
    """All named spaces, small networks first."""
    return tuple(_DESIGNS)
