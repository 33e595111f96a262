"""What a network computes and moves in one forward pass: fvcore's count, with handles of ours for the rest.

fvcore's convention: one multiply-add is one; a bias is where its sum starts and costs nothing. Beside that

- each elementwise multiply, add, comparison or elementary function (exp, σ, tanh, ReLU, softmax) is one for
  each element computed, and a fused operation what its parts are: `addcmul` 2, `lerp` 3, SiLU 2;
- a reduction or pooling is one for each element read;
- batch norm is 2 for each element (its statistics are folded into a scale and a shift), other norms 5, as in
  fvcore; bilinear interpolation is its 4 taps for each element computed;
- what moves data only (view, reshape, cat, transpose, padding, nearest interpolation) is free of multiply-adds.

Bytes moved are those of every tensor that an operation reads or writes, weights included, nothing fused and
nothing cached; a view moves nothing. They say what is bound by memory, not how long it takes.
"""

from __future__ import annotations

import copy
import logging
import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import torch
from torch import nn

from trials.errors import UncountedError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # fvcore still scripts a function with torch.jit at import
    from fvcore.nn import FlopCountAnalysis
    from fvcore.nn.flop_count import _DEFAULT_SUPPORTED_OPS as FVCORE

#: Raised by one whenever the same network may be counted differently.
CONVENTION = 2

Values = Sequence[Any]
Handle = Callable[[Values, Values], Any]


@dataclass(frozen=True)
class Work:
    """One forward pass: `macs`, of these the `elementwise_ops` (pooling and norms included), and `bytes_moved`."""

    macs: int
    elementwise_ops: int
    bytes_moved: int


def counter_version() -> str:
    """What a count depends on beside the network: `fvcore 0.1.5…, convention 2`."""
    return f"fvcore {metadata.version('fvcore')}, convention {CONVENTION}"


def warn_of(operations: Iterable[str]) -> None:
    """Say which operations of a user's network are not counted."""
    names = ", ".join(operations)
    warnings.warn(f"not counted, so free of cost in what follows: {names}", UserWarning, stacklevel=4)


def refuse(operations: Iterable[str]) -> None:
    """Raise UncountedError that names the operations: in our own networks nothing is silently free."""
    raise UncountedError(f"no cost is known of {', '.join(operations)}: give each a handle in trials/costs/counting.py")


def count_work(model: nn.Module, *inputs: torch.Tensor, uncounted: Callable[[Iterable[str]], None] = warn_of) -> Work:
    """The work of one forward pass of `model` in eval mode on real CPU tensors.

    Works on a copy: tracing must not change what it counts. `uncounted` is told the operations that no
    handle knows, where there are some.
    """
    counted = copy.deepcopy(model).cpu().eval()
    # fvcore counts under tracing, which refuses a module in which autograd is on for some parameter.
    with torch.no_grad(), _separate_attention():
        analysis = FlopCountAnalysis(counted, tuple(inputs) if len(inputs) > 1 else inputs[0])
        analysis.set_op_handle(**HANDLES)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        logging.getLogger("fvcore").setLevel(logging.ERROR)
        found = analysis.by_operator()
        unknown = sorted(analysis.unsupported_ops())
    if unknown:
        uncounted(unknown)
    return Work(int(found["macs"]), int(found["elementwise_ops"]), int(found["bytes_moved"]))


def count_macs(model: nn.Module, *inputs: torch.Tensor) -> int:
    """`count_work`'s multiply-adds. Warns of operations that are not counted."""
    return count_work(model, *inputs).macs


def count_params(model: nn.Module) -> int:
    """All parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


@contextmanager
def _separate_attention() -> Iterator[None]:
    """nn.MultiheadAttention in its parts, not as one operation of its own for inference."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


_BYTES = {"Double": 8, "Long": 8, "ComplexFloat": 8, "Half": 2, "BFloat16": 2, "Short": 2, "Bool": 1, "Byte": 1,
          "Char": 1}  # fmt: skip


def _elements(value: Any) -> int:
    sizes = value.type().sizes() if isinstance(value.type(), torch.TensorType) else None
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
    return Counter(macs=macs, elementwise_ops=elementwise_ops, bytes_moved=bytes_moved)


def _elementwise(count: Callable[[Values, Values], int], each: int = 1) -> Handle:
    def handle(inputs: Values, outputs: Values) -> Counter[str]:
        ops = each * count(inputs, outputs)
        return _work(ops, ops, _bytes([*inputs, *outputs]))

    return handle


def _products(theirs: Handle) -> Handle:
    """A handle of fvcore's for convolutions and products of matrices."""

    def handle(inputs: Values, outputs: Values) -> Counter[str]:
        found = theirs(inputs, outputs)
        macs = int(sum(found.values()) if isinstance(found, Counter) else found)
        return _work(macs, 0, _bytes([*inputs, *outputs]))

    return handle


def _norm(theirs: Handle) -> Handle:
    return _elementwise(lambda inputs, outputs: int(theirs(inputs, outputs)))


def _moves(inputs: Values, outputs: Values) -> Counter[str]:
    return _work(0, 0, _bytes([*inputs, *outputs]))


def _nothing(inputs: Values, outputs: Values) -> Counter[str]:
    return Counter()


def _parsed(names: str) -> list[str]:
    return [f"aten::{name}" for name in names.split()]


_NORMS = _parsed("batch_norm group_norm layer_norm instance_norm")
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
    **{name: _products(theirs) for name, theirs in FVCORE.items()},
    **{name: _norm(FVCORE[name]) for name in _NORMS},
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
