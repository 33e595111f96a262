"""What each operation of a traced network computes and moves, by its name: the convention of `trials.costs.counting`.

The multiply-adds of convolutions, products and norms are those of fvcore (fvcore.nn.flop_count), whose convention this
is; it is not needed for them, so that a device to be profiled does without.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch

#: Inputs and outputs of an operation in a graph of torch's tracer.
Values = Sequence[Any]
#: Tells `macs`, `elementwise_ops`, `bytes_moved` and `kernels` of one call.
Handle = Callable[[Values, Values], Counter[str]]

_BYTES = {"Double": 8, "Long": 8, "ComplexFloat": 8, "Half": 2, "BFloat16": 2, "Short": 2, "Bool": 1, "Byte": 1,
          "Char": 1}  # fmt: skip


def _sizes(value: Any) -> list[int] | None:
    """The shape of a tensor; None of anything else."""
    return value.type().sizes() if isinstance(value.type(), torch.TensorType) else None


def _elements(value: Any) -> int:
    sizes = _sizes(value)
    return 0 if sizes is None else math.prod(sizes)


def _bytes(values: Iterable[Any]) -> int:
    total = 0
    for value in values:
        if value.node().kind() == "prim::ListConstruct":
            total += _bytes(value.node().inputs())
        elif elements := _elements(value):
            total += elements * _BYTES.get(value.type().scalarType(), 4)
    return total


def _written(inputs: Values, outputs: Values) -> int:
    return _elements(outputs[0])


def _read(inputs: Values, outputs: Values) -> int:
    return _elements(inputs[0])


def _scaled_sum(inputs: Values, outputs: Values) -> int:
    """x + α·y: one for the sum, one more for a factor that is not 1."""
    factor = inputs[2].toIValue() if len(inputs) > 2 else 1
    return _written(inputs, outputs) * (1 if factor == 1 else 2)


def _softmax_of_attention(inputs: Values) -> int:
    query, key = (tensor.type().sizes() for tensor in inputs[:2])
    return int(math.prod(query[:-1]) * key[-2])


def _attention(inputs: Values, outputs: Values) -> Counter[str]:
    """QᵀK, softmax and product with V of [..., N, d], [..., N', d], [..., N', C]."""
    query, value = inputs[0].type().sizes(), inputs[2].type().sizes()
    pairs = _softmax_of_attention(inputs)
    return _work(int(pairs * (query[-1] + 1 + value[-1])), pairs, _bytes([*inputs, *outputs]))


def _work(macs: int, elementwise_ops: int, bytes_moved: int) -> Counter[str]:
    return Counter(macs=macs, elementwise_ops=elementwise_ops, bytes_moved=bytes_moved, kernels=1)


def _elementwise(count: Callable[[Values, Values], int], each: int = 1) -> Handle:
    def handle(inputs: Values, outputs: Values) -> Counter[str]:
        ops = each * count(inputs, outputs)
        return _work(ops, ops, _bytes([*inputs, *outputs]))

    return handle


def _products(macs: Callable[[Values, Values], int]) -> Handle:
    """Convolutions and products of matrices: multiply-adds of which none is elementwise."""

    def handle(inputs: Values, outputs: Values) -> Counter[str]:
        return _work(macs(inputs, outputs), 0, _bytes([*inputs, *outputs]))

    return handle


def _convolution(inputs: Values, outputs: Values) -> int:
    """Of x [B, …], weight [O, I / groups, …]; transposed (the seventh input), each element read is multiplied."""
    return _at_each_place(inputs[1], inputs[0] if inputs[6].toIValue() else outputs[0])


def _padded_convolution(inputs: Values, outputs: Values) -> int:
    """The same with padding="same" or "valid", and never transposed: the seventh input is the groups."""
    return _at_each_place(inputs[1], outputs[0])


def _at_each_place(weight: Any, maps: Any) -> int:
    """All of a weight at each place of maps [B, C, …]."""
    batch, _, *places = maps.type().sizes()
    return int(batch * math.prod(places) * math.prod(weight.type().sizes()))


def _deformable_convolution(inputs: Values, outputs: Values) -> Counter[str]:
    """torchvision's, of x [B, I, H, W], weight [O, I / groups, k, l], offsets, mask: each place's k·l·I values are
    taken bilinearly, with 4 taps, and multiplied by the mask where there is one."""
    kernel = math.prod(inputs[1].type().sizes()[2:])
    batch, _, *places = outputs[0].type().sizes()
    taken = batch * math.prod(places) * kernel * inputs[0].type().sizes()[1]
    masked = inputs[13].toIValue()
    sampling = int(taken * (5 if masked else 4))
    return _work(_at_each_place(inputs[1], outputs[0]) + sampling, sampling, _bytes([*inputs, *outputs]))


def _addmm(inputs: Values, outputs: Values) -> int:
    """Of any [N, M], [N, K], [K, M]."""
    return int(math.prod(inputs[1].type().sizes()) * inputs[2].type().sizes()[1])


def _linear(inputs: Values, outputs: Values) -> int:
    """Of [..., K], weight [M, K]."""
    return int(math.prod(inputs[0].type().sizes()) * inputs[1].type().sizes()[0])


def _matmul(inputs: Values, outputs: Values) -> int:
    """Of [..., N, K], [..., K, M] or [K]."""
    columns = inputs[1].type().sizes()[1:]
    return int(math.prod(inputs[0].type().sizes()) * (columns[-1] if columns else 1))


def _added_matmul(inputs: Values, outputs: Values) -> int:
    """Of any, [B, N, K], [B, K, M] or [K]."""
    return _matmul(inputs[1:], outputs)


def _contraction(inputs: Values, outputs: Values) -> int:
    """Of [N…, K…] and [K…, M…] in whatever order, to [N…, M…]: N·K·M is the root of (N·K)(K·M)(N·M)."""
    return math.isqrt(_elements(inputs[0]) * _elements(inputs[1]) * _elements(outputs[0]))


def _bilinear(inputs: Values, outputs: Values) -> int:
    """Of [..., I], [..., J], weight [O, I, J]: the first with the weight, then the second with what that gives."""
    out, first, second = inputs[2].type().sizes()
    rows = _elements(outputs[0]) // out
    return int(rows * out * (first + 1) * second)


def _einsum(inputs: Values, outputs: Values) -> int:
    """Along the best path, as numpy tells it: with four digits."""
    operands = [np.broadcast_to(np.zeros(()), value.type().sizes()) for value in inputs[1].node().inputs()]
    equation = inputs[0].toIValue().replace(" ", "")
    told = np.einsum_path(equation, *operands, optimize="optimal")[1]
    (flops,) = (float(line.rpartition(":")[2]) for line in told.split("\n") if "optimized flop" in line.lower())
    return int(flops / 2)  # a multiplication and an addition are one


def _norm(affine: int) -> Callable[[Values, Values], int]:
    """5 for each element read, 4 without weights; which input the weights are."""
    return lambda inputs, outputs: _elements(inputs[0]) * (4 if _sizes(inputs[affine]) is None else 5)


def _rms_norm(inputs: Values, outputs: Values) -> int:
    """Squares, their sum, and a scale for each element read; one more with weights."""
    return _elements(inputs[0]) * (3 if _sizes(inputs[2]) is None else 4)


def _batch_norm(inputs: Values, outputs: Values) -> int:
    """A scale and a shift for each element, where the statistics are known before."""
    if inputs[5].toIValue():
        return _norm(1)(inputs, outputs)
    return _elements(inputs[0]) * (1 if _sizes(inputs[1]) is None else 2)


def _moves(inputs: Values, outputs: Values) -> Counter[str]:
    return _work(0, 0, _bytes([*inputs, *outputs]))


def _nothing(inputs: Values, outputs: Values) -> Counter[str]:
    return Counter()


def _parsed(names: str) -> list[str]:
    return [f"aten::{name}" for name in names.split()]


_ONE_EACH = """
    mul div sigmoid relu tanh exp expm1 log log1p log2 sqrt rsqrt square sin cos erf abs sign pow neg reciprocal
    maximum minimum clamp clamp_min clamp_max hardtanh relu6 threshold leaky_relu prelu elu selu celu softplus
    hardsigmoid logsigmoid softsign floor ceil round trunc frac remainder fmod floor_divide eq ne lt le gt ge
    logical_and logical_or logical_not bitwise_and bitwise_or bitwise_not __and__ __or__ where masked_fill
"""
_TWO_EACH = "addcmul addcdiv silu hardswish gelu glu"  # a function or a product, and a product or a sum
_IN_PLACE = "add sub mul div sigmoid relu tanh exp sqrt rsqrt pow neg reciprocal clamp clamp_min hardtanh relu6 " \
            "leaky_relu elu selu celu hardsigmoid silu hardswish addcmul lerp mish masked_fill threshold"  # fmt: skip
_READ_ONCE = """
    mean sum max amax min amin argmax argmin prod cumsum all any sort topk
    avg_pool1d avg_pool2d max_pool1d max_pool2d max_pool2d_with_indices adaptive_avg_pool1d adaptive_avg_pool2d
    adaptive_max_pool1d adaptive_max_pool2d avg_pool3d max_pool3d adaptive_avg_pool3d
"""
_MOVING = """
    cat stack concat concatenate contiguous copy copy_ clone fill_ zero_ constant_pad_nd pad reflection_pad2d
    replication_pad2d roll flip repeat repeat_interleave index index_select index_put_ gather scatter scatter_
    masked_select nonzero embedding to type_as pixel_shuffle pixel_unshuffle channel_shuffle im2col tril triu
    upsample_nearest1d upsample_nearest2d upsample_nearest3d one_hot
"""
_FREE = """
    view view_as reshape reshape_as flatten unflatten squeeze unsqueeze unsqueeze_ expand expand_as permute movedim
    transpose t numpy_T select slice narrow chunk split split_with_sizes tensor_split unbind unfold detach alias
    size numel dim Int IntImplicit ScalarImplicit FloatImplicit Bool Float arange empty empty_like full full_like zeros
    zeros_like ones ones_like new_empty new_full new_zeros new_ones scalar_tensor dropout dropout_ feature_dropout
    lift_fresh is_floating_point broadcast_tensors meshgrid
"""

#: By the name of the operation. Nothing is counted by default, and fvcore's own list of free ones is not used.
HANDLES: dict[str, Handle] = {
    "aten::_convolution": _products(_convolution),
    "aten::_convolution_mode": _products(_padded_convolution),
    "torchvision::deform_conv2d": _deformable_convolution,
    "aten::addmm": _products(_addmm),
    "aten::linear": _products(_linear),
    "aten::einsum": _products(_einsum),
    "aten::bilinear": _products(_bilinear),
    **dict.fromkeys(_parsed("matmul mm bmm"), _products(_matmul)),
    **dict.fromkeys(_parsed("baddbmm addbmm addmv"), _products(_added_matmul)),
    **dict.fromkeys(_parsed("mv dot vdot inner outer ger tensordot"), _products(_contraction)),
    "aten::batch_norm": _elementwise(_batch_norm),
    **dict.fromkeys(_parsed("group_norm layer_norm"), _elementwise(_norm(2))),
    "aten::instance_norm": _elementwise(_norm(1)),
    "aten::rms_norm": _elementwise(_rms_norm),
    **{name: _elementwise(_written) for name in _parsed(_ONE_EACH)},
    **{name: _elementwise(_written, 2) for name in _parsed(_TWO_EACH)},
    **{name: _elementwise(_scaled_sum) for name in _parsed("add sub rsub")},
    **{name: _elementwise(_written, 3) for name in _parsed("lerp mish")},
    **{name: _elementwise(_written) for name in _parsed("softmax log_softmax _softmax")},
    **{name: _elementwise(_read) for name in _parsed(_READ_ONCE)},
    **{name: _elementwise(_written, taps) for name, taps in
       [("aten::upsample_linear1d", 2), ("aten::upsample_bilinear2d", 4), ("aten::upsample_trilinear3d", 8),
        ("aten::upsample_bicubic2d", 16), ("aten::grid_sampler", 4)]},
    **{name: _elementwise(_read, 2) for name in _parsed("norm linalg_vector_norm")},  # squares, and their sum
    **{name: _elementwise(_read, 3) for name in _parsed("logsumexp")},
    **{name: _elementwise(_read, 4) for name in _parsed("var std")},  # mean, differences, squares, and their sum
    "aten::scaled_dot_product_attention": _attention,
    **dict.fromkeys(_parsed(_MOVING), _moves),
    **dict.fromkeys(_parsed(_FREE), _nothing),
}  # fmt: skip
HANDLES.update({f"aten::{name}_": HANDLES[f"aten::{name}"] for name in _IN_PLACE.split()})
