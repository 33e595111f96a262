"""What each of our operators costs by its documented formula: parameters and multiply-adds in closed form.

Nothing in a search reads these: what a network costs is counted on the network itself. They are what the counts are
checked against, operator by operator (`search_spaces.conformance`, and the tests of concatenations).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from search_spaces.fusions.eca import eca_kernel
from search_spaces.fusions.layers import bottleneck_width
from search_spaces.fusions.norms import Norm
from search_spaces.fusions.registry import FusionOperator, Merge


@dataclass(frozen=True)
class Dims:
    """What closed forms are written in: the sizes of one fusion of one image.

    `b` is the multiply-adds of normalising one value: 2 by batch norm (its statistics are folded into a scale
    and a shift), 5 by group or layer norm, as fvcore counts them.
    """

    c: int  #: channels C of the result
    n: int = 1  #: positions N = H·W
    r: int = 1  #: reduction ratio
    w: int = 0  #: bottleneck width C'
    k: int = 2  #: maps fused
    b: int = 2

    @classmethod
    def of(
        cls, op: FusionOperator, channels: int, reduction: int | None, *, inputs: int = 2, merge: Merge = "sum"
    ) -> Dims:
        """Those of one position, with batch norm."""
        width = op.width_of(merge)
        if width is None or reduction is None:
            return cls(channels, k=inputs)
        return cls(channels, r=reduction, w=width(channels, reduction), k=inputs)

    def over(self, positions: int, norm: Norm = "batch") -> Dims:
        """The same on maps of so many positions, normalised so."""
        return Dims(self.c, positions, self.r, self.w, self.k, 2 if norm == "batch" else 5)


Cost = Callable[[Dims], int]


@dataclass(frozen=True)
class ClosedForm:
    """Parameters, and multiply-adds of fusing one image's maps; None for what is not stated.

    One multiply-add for each of a convolution or matrix product, and for each element that elementwise work writes or
    a reduction reads.
    """

    params: Cost | None = None
    macs: Cost | None = None


def _channel_gate(c: int, w: int) -> int:
    """W₂ δ(W₁ v + b₁) + b₂ of v [C]."""
    return 2 * c * w + c + w


def _cbam_macs(c: int, w: int, n: int, b: int) -> int:
    return (3 * c * n + 2 * (2 * c * w + w) + 3 * c) + (3 * c * n + (98 + b + 2) * n)


def _se_concat_params(d: Dims) -> int:
    joined, width = d.k * d.c, bottleneck_width(d.k * d.c, d.r)
    return _channel_gate(joined, width) + joined * d.c


def _se_concat_macs(d: Dims) -> int:
    joined, width = d.k * d.c, bottleneck_width(d.k * d.c, d.r)
    return joined * d.c * d.n + 2 * joined * d.n + 2 * joined * width + 2 * joined + width


def _mscam_params(d: Dims) -> int:
    return 4 * d.c * d.w + 4 * d.w + 4 * d.c


def _mscam_macs(d: Dims) -> int:
    """MS-CAM of one map, and the C·N of what it is computed from."""
    local = 2 * d.c * d.w * d.n + (d.b + 1) * d.w * d.n + d.b * d.c * d.n
    pooled = d.c * d.n + 2 * d.c * d.w + (d.b + 1) * d.w + d.b * d.c
    return local + pooled + 2 * d.c * d.n


def _attend(d: Dims, values: int) -> int:
    return d.n**2 * (d.w + 1 + values)


def _mixture(forms: dict[str, ClosedForm], maps: int) -> ClosedForm:
    """Dynamic fusion: its four experts, all computed, a router over `maps`·C means, the sum of what they give."""
    experts = [forms[name] for name in ("add", "se", "cbam", "concat")]

    def params(d: Dims) -> int:
        return sum(form.params(d) for form in experts if form.params) + maps * d.c * 4 + 4

    def macs(d: Dims) -> int:
        router = maps * d.c * d.n + maps * d.c * 4 + 4
        return sum(form.macs(d) for form in experts if form.macs) + router + 7 * d.c * d.n

    return ClosedForm(params, macs)


#: At a sum of k maps of C channels.
SUMS: dict[str, ClosedForm] = {
    "add": ClosedForm(lambda d: 0, lambda d: (d.k - 1) * d.c * d.n),
    "concat": ClosedForm(lambda d: d.k * d.c**2, lambda d: d.k * d.c**2 * d.n),
    "se": ClosedForm(
        lambda d: _channel_gate(d.c, d.w), lambda d: 3 * d.c * d.n + 2 * d.c * d.w + 2 * d.c + d.w
    ),
    "se_concat": ClosedForm(_se_concat_params, _se_concat_macs),
    "cbam": ClosedForm(
        lambda d: 2 * d.c * d.w + 100, lambda d: _cbam_macs(d.c, d.w, d.n, d.b) + d.c * d.n
    ),
    "cbam_concat": ClosedForm(
        lambda d: 4 * d.c * d.w + 100 + 2 * d.c**2,
        lambda d: _cbam_macs(2 * d.c, d.w, d.n, d.b) + 2 * d.c**2 * d.n,
    ),
    "eca": ClosedForm(lambda d: eca_kernel(d.c), lambda d: 3 * d.c * d.n + (eca_kernel(d.c) + 2) * d.c),
    "aff": ClosedForm(_mscam_params, lambda d: _mscam_macs(d) + 5 * d.c * d.n),
    "iaff": ClosedForm(lambda d: 2 * _mscam_params(d), lambda d: 2 * _mscam_macs(d) + 9 * d.c * d.n),
    "mscam": ClosedForm(_mscam_params, lambda d: _mscam_macs(d) + 3 * d.c * d.n),
    "gated": ClosedForm(lambda d: 2 * d.c**2 + d.c, lambda d: 2 * d.c**2 * d.n + 5 * d.c * d.n),
    "efficient": ClosedForm(
        lambda d: 2 * d.c * d.w + 2 * d.w + d.c, lambda d: 6 * d.c * d.n + 2 * d.c * d.w + 6 * d.w + d.c
    ),
    "sk": ClosedForm(
        lambda d: d.c * d.w * (1 + d.k) + 2 * d.w,
        lambda d: (3 * d.k - 1) * d.c * d.n + d.c * d.w * (1 + d.k) + (d.b + 1) * d.w + 2 * d.k * d.c,
    ),
    "weighted": ClosedForm(lambda d: d.k, lambda d: (2 * d.k - 1) * d.c * d.n + 4 * d.k + 1),
    "attention": ClosedForm(
        lambda d: 4 * d.c * d.w + 2 * d.c**2 + 1,
        lambda d: (4 * d.c * d.w + 2 * d.c**2 + d.w) * d.n + _attend(d, d.c) + 3 * d.c * d.n,
    ),
    "nonlocal": ClosedForm(
        lambda d: 4 * d.c * d.w, lambda d: 4 * d.c * d.w * d.n + _attend(d, d.w) + 2 * d.c * d.n
    ),
    "cross_modal": ClosedForm(
        lambda d: 2 * d.c * d.w + d.c**2 + 1,
        lambda d: (2 * d.c * d.w + d.c**2 + d.w) * d.n + _attend(d, d.c) + 3 * d.c * d.n,
    ),
}  # fmt: skip

#: At a concatenation of k maps whose channels add up to C.
CONCATENATIONS: dict[str, ClosedForm] = {
    "add": ClosedForm(lambda d: 0, lambda d: 0),
    "concat": ClosedForm(lambda d: d.c**2, lambda d: d.c**2 * d.n),
    "se": ClosedForm(
        lambda d: _channel_gate(d.c, d.w), lambda d: 2 * d.c * d.n + 2 * d.c * d.w + 2 * d.c + d.w
    ),
    "se_concat": ClosedForm(
        lambda d: _channel_gate(d.c, d.w) + d.c**2,
        lambda d: d.c**2 * d.n + 2 * d.c * d.n + 2 * d.c * d.w + 2 * d.c + d.w,
    ),
    "cbam": ClosedForm(lambda d: 2 * d.c * d.w + 100, lambda d: _cbam_macs(d.c, d.w, d.n, d.b)),
    "cbam_concat": ClosedForm(
        lambda d: 2 * d.c * d.w + 100 + d.c**2, lambda d: _cbam_macs(d.c, d.w, d.n, d.b) + d.c**2 * d.n
    ),
    "eca": ClosedForm(lambda d: eca_kernel(d.c), lambda d: 2 * d.c * d.n + (eca_kernel(d.c) + 2) * d.c),
    "aff": ClosedForm(_mscam_params, lambda d: _mscam_macs(d) + 2 * d.c * d.n),
    "iaff": ClosedForm(lambda d: 2 * _mscam_params(d), lambda d: 2 * (_mscam_macs(d) + 2 * d.c * d.n)),
    "gated": ClosedForm(lambda d: d.c**2 + d.c, lambda d: d.c**2 * d.n + 3 * d.c * d.n),
    "efficient": ClosedForm(
        lambda d: 2 * d.c * d.w + 2 * d.w + d.c, lambda d: 2 * d.c * d.n + 2 * d.c * d.w + 6 * d.w + 2 * d.c
    ),
    "sk": ClosedForm(
        lambda d: d.c * d.w + 2 * d.w + d.w * d.k,
        lambda d: 2 * d.c * d.n + d.c * d.w + (d.b + 1) * d.w + d.w * d.k + 2 * d.k,
    ),
    "weighted": ClosedForm(lambda d: d.k, lambda d: d.c * d.n + 4 * d.k + 1),
    "attention": ClosedForm(
        lambda d: 2 * d.c * d.w + d.c**2 + 1,
        lambda d: (2 * d.c * d.w + d.c**2 + d.w) * d.n + _attend(d, d.c) + 2 * d.c * d.n,
    ),
    "nonlocal": ClosedForm(lambda d: 4 * d.c * d.w, lambda d: 4 * d.c * d.w * d.n + _attend(d, d.w) + d.c * d.n),
}  # fmt: skip

for _name in ("dynamic", "dynamic_top1"):
    SUMS[_name] = _mixture(SUMS, 2)
    CONCATENATIONS[_name] = _mixture(CONCATENATIONS, 1)
