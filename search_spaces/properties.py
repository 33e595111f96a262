"""The properties that a fusion operator must hold, each with the check of it; `conformance` tries them."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from search_spaces.closed_forms import ClosedForm, Dims
from search_spaces.fusions.norms import NORMS
from search_spaces.fusions.registry import FusionOperator
from search_spaces.fusions.settings import DEFAULT, FusionSettings

MacCounter = Callable[..., int]


class Failed(Exception):
    """A property does not hold: what was expected, what the operator gave."""

    def __init__(self, expected: str, given: str) -> None:
        super().__init__(expected, given)
        self.expected, self.given = expected, given


@dataclass(frozen=True)
class Subject:
    """An operator, and what it is tried on."""

    op: FusionOperator
    channels: int
    sizes: tuple[tuple[int, int], ...]
    reduction: int | None
    count_macs: MacCounter | None
    form: ClosedForm

    def build(self, settings: FusionSettings = DEFAULT, inputs: int = 2, channels: int | None = None) -> nn.Module:
        options = settings.options(self.op.module)
        if inputs != 2:
            options["inputs"] = inputs
        ratio = [] if self.reduction is None else [self.reduction]
        return self.op.module(self.channels if channels is None else channels, *ratio, **options)

    def settings(self) -> list[FusionSettings]:
        """The default, and the other norms where the operator knows them."""
        norms = [replace(DEFAULT, norm=norm) for norm in NORMS]
        return [settings for settings in norms if settings == DEFAULT or settings.options(self.op.module)]

    def dims(self, channels: int, inputs: int) -> Dims:
        return Dims.of(self.op, channels, self.reduction, inputs=inputs)

    @property
    def arities(self) -> tuple[int, ...]:
        return (2, 3) if self.op.max_inputs is None else (2,)


class _Pair(nn.Module):
    """An operator as the graph of a network calls it."""

    def __init__(self, fusion: nn.Module) -> None:
        super().__init__()
        self.fusion = fusion

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        fused: torch.Tensor = self.fusion(x, y)
        return fused


def one_line(error: Exception) -> str:
    """An error as a finding tells it."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _maps(
    count: int, batch: int, channels: int, size: tuple[int, int], dtype: torch.dtype = torch.float32
) -> list[torch.Tensor]:
    return [torch.randn(batch, channels, *size, dtype=torch.float64).to(dtype) for _ in range(count)]


def perturbed(module: nn.Module, spread: float = 0.3) -> nn.Module:
    """Every parameter and running statistic moved by random amounts: an operator as training leaves it."""
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if name.endswith("running_var"):
                tensor.mul_(1 + spread * torch.rand_like(tensor))
            elif tensor.is_floating_point():
                tensor.add_(spread * torch.randn_like(tensor))
    return module


def _close(given: torch.Tensor, expected: torch.Tensor, tolerance: float, what: str) -> None:
    if given.shape != expected.shape:
        raise Failed(f"{what} of shape {list(expected.shape)}", str(list(given.shape)))
    error = float((given.detach().double() - expected.detach().double()).abs().max())
    if not error <= tolerance:  # NaN too
        raise Failed(f"{what} within {tolerance:g}", f"a difference of {error:.3g}")


def _shapes(subject: Subject) -> None:
    for settings in subject.settings():
        for inputs in subject.arities:
            for size in subject.sizes:
                module = subject.build(settings, inputs)
                # Batch norm has no statistics of one value: groups and layers train on one image.
                batches = [(False, 1), (True, 3)] + ([(True, 1)] if settings.norm != "batch" else [])
                for training, batch in batches:
                    maps = _maps(inputs, batch, subject.channels, size)
                    fused = module.train(training)(*maps)
                    if fused.shape != maps[0].shape:
                        raise Failed(str(list(maps[0].shape)), str(list(fused.shape)))


def _mismatch(subject: Subject) -> None:
    whole = (2, subject.channels, 6, 5)
    others = [(1, *whole[1:]), (2, subject.channels + 1, 6, 5), (2, 1, 6, 5), (*whole[:2], 1, 1), (*whole[:2], 3, 5)]
    for inputs in subject.arities:
        module = subject.build(inputs=inputs).eval()
        for other in others:
            for place in range(inputs):
                maps = [torch.randn(other if index == place else whole) for index in range(inputs)]
                if subject.op.aligns and other[:2] == whole[:2]:
                    fused = module(*maps)
                    if fused.shape != maps[0].shape:
                        raise Failed(f"{list(maps[0].shape)}, as registered", str(list(fused.shape)))
                elif other != whole:
                    _refuses(module, maps, [whole, other])


def _refuses(module: nn.Module, maps: list[torch.Tensor], shapes: list[tuple[int, ...]]) -> None:
    expected = (
        f"a ValueError that names {' and '.join(str(list(shape)) for shape in shapes)} when such maps are given "
        "(begin forward with search_spaces.check_shapes)"
    )
    try:
        fused = module(*maps)
    except Exception as error:  # whatever a user's operator raises is what it gave
        named = all(", ".join(map(str, shape)) in str(error) for shape in shapes)
        if not (named and isinstance(error, ValueError)):
            raise Failed(expected, one_line(error)) from None
    else:
        raise Failed(expected, f"a map of shape {list(fused.shape)}: one was broadcast in silence")


def _identity(subject: Subject) -> None:
    for settings in subject.settings():
        for inputs in subject.arities:
            for size in subject.sizes:
                for training in (False, True):
                    maps = _maps(inputs, 3, subject.channels, size)
                    fused = subject.build(settings, inputs).train(training)(*maps)
                    _close(fused, torch.stack(maps).sum(dim=0), 1e-6, "the sum of the maps at step 0")


def _learns(subject: Subject) -> None:
    for inputs in subject.arities:
        names = {name for name, _ in subject.build(inputs=inputs).named_parameters()}
        reached: set[str] = set()
        for _ in range(4):  # a narrow layer's ReLUs may all be off in one start, by chance
            reached |= set() if reached == names else _reached(subject, inputs)
        if reached != names:
            missing = ", ".join(sorted(names - reached))
            raise Failed(f"a gradient of every parameter by step {subject.op.steps}", f"none of {missing}")


def _reached(subject: Subject, inputs: int) -> set[str]:
    """The parameters that have had a gradient when the operator's documented steps are over."""
    module = subject.build(inputs=inputs).train()
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    maps = _maps(inputs, 16, subject.channels, (6, 6))
    target, reached = torch.randn_like(maps[0]), set[str]()
    for _ in range(subject.op.steps + 1):
        optimiser.zero_grad()
        torch.autograd.backward((module(*maps) - target).square().mean())
        for name, parameter in module.named_parameters():
            if parameter.grad is not None and not parameter.grad.isfinite().all():
                raise Failed("finite gradients", f"a gradient of {name} that is not")
            if parameter.grad is not None and parameter.grad.abs().max() > 0:
                reached.add(name)
        optimiser.step()
    return reached


def _order(subject: Subject) -> None:
    module = perturbed(subject.build()).double().eval()
    x, y = _maps(2, 2, subject.channels, (4, 4), torch.float64)
    difference = float((module(x, y) - module(y, x)).detach().abs().max())
    if subject.op.symmetric and difference > 1e-9:
        raise Failed("f(x, y) = f(y, x), as registered", f"a difference of {difference:.3g}")
    if not subject.op.symmetric and difference < 1e-6:
        raise Failed("f(x, y) other than f(y, x): register it as symmetric", "the same")


def _parameters(subject: Subject) -> None:
    for inputs in subject.arities:
        for channels in (subject.channels, subject.channels + 3, 4 * subject.channels):
            counted = sum(parameter.numel() for parameter in subject.build(DEFAULT, inputs, channels).parameters())
            params = subject.form.params
            stated = counted if params is None else params(subject.dims(channels, inputs))
            if stated != counted:
                raise Failed(f"{stated} parameters by the closed form at {channels} channels", f"{counted} counted")


def _multiply_adds(subject: Subject) -> None:
    if subject.count_macs is None:
        return
    for settings in subject.settings():
        for inputs in subject.arities:
            for size in subject.sizes:
                module = subject.build(settings, inputs)
                counted = subject.count_macs(module, *_maps(inputs, 1, subject.channels, size))
                dims = subject.dims(subject.channels, inputs).over(math.prod(size), settings.norm)
                stated = counted if subject.form.macs is None else subject.form.macs(dims)
                if stated != counted:
                    raise Failed(f"{stated} multiply-adds by the closed form at {size}", f"{counted} counted")


def _exported(subject: Subject) -> Iterator[tuple[nn.Module, tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]]:
    """An operator as training leaves it, the maps it is exported with, and others of another batch size."""
    module = _Pair(perturbed(subject.build())).eval()
    size = subject.sizes[0]
    yield module, tuple(_maps(2, 2, subject.channels, size)), tuple(_maps(2, 5, subject.channels, size))


def _torch_export(subject: Subject) -> None:
    for module, example, others in _exported(subject):
        batch = {0: torch.export.Dim("batch")}
        program = torch.export.export(module, example, dynamic_shapes=(batch, batch))
        with torch.no_grad():
            _close(program.module()(*others), module(*others), 1e-5, "the eager result from torch.export")


def _onnx(subject: Subject) -> None:
    import onnxruntime

    for module, example, others in _exported(subject):
        batch = {0: torch.export.Dim("batch")}
        with _silence():
            program = torch.onnx.export(
                module, example, input_names=["x", "y"], opset_version=20, dynamo=True, dynamic_shapes=(batch, batch),
                external_data=False, verbose=False,
            )  # fmt: skip
        assert program is not None
        content = program.model_proto.SerializeToString()
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        (fused,) = session.run(None, {"x": others[0].numpy(), "y": others[1].numpy()})
        with torch.no_grad():
            _close(torch.from_numpy(fused), module(*others), 1e-5, "the eager result from ONNX Runtime")


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(action="ignore"),
        ):
            yield
    finally:
        logging.disable(disabled)


def _autocast(subject: Subject) -> None:
    module = subject.build().train()
    x, y = _maps(2, 4, subject.channels, (5, 5))
    x.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        fused = module(x, y)
    _close(fused, x + y, 0.1, "x + y at step 0")
    torch.autograd.backward(fused.float().sum())
    if x.grad is None or not x.grad.isfinite().all():
        raise Failed("finite gradients", "some that are not")


def _round_trip(subject: Subject) -> None:
    module, other = perturbed(subject.build()).eval(), subject.build().eval()
    other.load_state_dict(module.state_dict(), strict=True)
    maps = _maps(2, 2, subject.channels, subject.sizes[0])
    _close(other(*maps), module(*maps), 0.0, "the same result from the same state_dict")


def _gradcheck(subject: Subject) -> None:
    channels = max(4, subject.reduction or 0)
    module: Any = perturbed(subject.build(channels=channels)).double().eval()
    maps = [u.requires_grad_() for u in _maps(2, 2, channels, (3, 2), torch.float64)]
    torch.autograd.gradcheck(module, maps)


def _attention(subject: Subject) -> None:
    for inputs in subject.arities:
        module = perturbed(subject.build(inputs=inputs)).eval()
        outputs: dict[str, list[torch.Tensor]] = {weights.module: [] for weights in subject.op.attention}
        for name, seen in outputs.items():
            # Bound now: the loop's variable is another one when the hook runs.
            module.get_submodule(name).register_forward_hook(lambda _, __, output, seen=seen: seen.append(output))
        with torch.no_grad():
            module(*_maps(inputs, 3, subject.channels, subject.sizes[0]))
        for weights in subject.op.attention:
            seen, name = outputs[weights.module], weights.module
            if len(seen) != 1 or len(seen[0]) != 3:
                raise Failed(f"{name} called once, batch first", f"{len(seen)} calls, {[list(u.shape) for u in seen]}")
            if not bool(((seen[0] >= 0) & (seen[0] <= 1)).all()):  # NaN too
                raise Failed(f"{name} between 0 and 1", f"{float(seen[0].min()):.3g} to {float(seen[0].max()):.3g}")
            if weights.kind != "gates":
                totals = seen[0].sum(dim=1 if weights.kind == "shares" else -1)
                _close(totals, torch.ones_like(totals), 1e-5, f"{name}, shares that sum to 1,")


Check = Callable[[Subject], None]
#: What each asks, and how; in the order in which they are tried. `onnx` takes seconds.
PROPERTIES: dict[str, tuple[str, Check]] = {
    "shapes": ("[B, C, H, W] in and out", _shapes),
    "mismatch": ("maps of unequal shapes refused, both shapes named", _mismatch),
    "identity": ("the sum of the maps at step 0", _identity),
    "gradients": ("finite gradients of every parameter", _learns),
    "order": ("f(x, y) other than f(y, x), unless registered as symmetric", _order),
    "parameters": ("the closed form's count", _parameters),
    "multiply-adds": ("the closed form's count", _multiply_adds),
    "autocast": ("bfloat16 autocast near x + y, finite gradients", _autocast),
    "attention weights": ("each registered submodule called once, batch first, between 0 and 1", _attention),
    "state_dict": ("the same result from the same state_dict", _round_trip),
    "gradcheck": ("analytic gradients equal numeric ones in float64", _gradcheck),
    "export": ("the eager result from torch.export, for any batch", _torch_export),
    "onnx": ("the eager result from ONNX Runtime, for any batch", _onnx),
}
