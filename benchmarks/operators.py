"""How fast each fusion operator is."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torchvision.ops import SqueezeExcitation

from benchmarks.timing import in_turn
from search_spaces import FusionChoice, operator_names
from search_spaces.fusions import build_fusion, operator

CHANNELS, REDUCTION = 64, 4
WIDTH = CHANNELS // REDUCTION


class Public(nn.Module):
    """x + module(y), or module(x + y): a public attention module put where a fusion stands."""

    def __init__(self, module: nn.Module, of_sum: bool = False) -> None:
        super().__init__()
        self.module, self.of_sum = module, of_sum

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        merged: torch.Tensor = self.module(x + y) if self.of_sum else x + self.module(y)
        return merged


class PublicSelection(nn.Module):
    """timm's selective kernel attention, which returns the weights, as its users apply it."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        maps = torch.stack([x, y], dim=1)
        merged: torch.Tensor = (maps * self.attention(maps)).sum(dim=1)
        return merged


def public() -> dict[str, dict[str, nn.Module]]:
    """What torchvision and, where it is installed, timm offer for the same operation, of the same widths."""
    found: dict[str, dict[str, nn.Module]] = {"se": {"torchvision": Public(SqueezeExcitation(CHANNELS, WIDTH))}}
    try:
        from timm.layers.cbam import CbamModule
        from timm.layers.eca import EcaModule
        from timm.layers.non_local_attn import NonLocalAttn
        from timm.layers.selective_kernel import SelectiveKernelAttn
        from timm.layers.squeeze_excite import SEModule
    except ImportError:
        print("  without timm: only SE has a public equivalent here")
        return found
    found["se"]["timm"] = Public(SEModule(CHANNELS, rd_channels=WIDTH))
    found["cbam"] = {"timm": Public(CbamModule(CHANNELS, rd_channels=WIDTH))}
    found["eca"] = {"timm": Public(EcaModule(CHANNELS))}
    found["sk"] = {"timm": PublicSelection(SelectiveKernelAttn(CHANNELS, attn_channels=WIDTH))}
    non_local = NonLocalAttn(CHANNELS, use_scale=False, rd_channels=WIDTH)  # type: ignore[no-untyped-call]
    found["nonlocal"] = {"timm": Public(non_local, of_sum=True)}
    return found


def forward(module: nn.Module, x: torch.Tensor, y: torch.Tensor, repeat: int) -> Callable[[], None]:
    """Forward passes in eval mode."""
    evaluated = module.eval()

    def run() -> None:
        with torch.inference_mode():
            for _ in range(repeat):
                evaluated(x, y)
        if x.is_cuda:
            torch.cuda.synchronize()

    return run


def backward(module: nn.Module, x: torch.Tensor, y: torch.Tensor, repeat: int) -> Callable[[], None]:
    """Forward and backward passes in training mode, gradients of both maps included."""
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    gradient = torch.randn_like(x)

    def run() -> None:
        module.train()
        for _ in range(repeat):
            module(x, y).backward(gradient)
            module.zero_grad(set_to_none=True)
            x.grad = y.grad = None
        if x.is_cuda:
            torch.cuda.synchronize()

    return run


def ratio(seconds: Sequence[float], base: Sequence[float]) -> str:
    """Median and range of the ratio, round by round."""
    ratios = [value / other for value, other in zip(seconds, base, strict=True)]
    return f"{statistics.median(ratios):6.2f}x ({min(ratios):.2f} to {max(ratios):.2f})"


def measure(device: str, batch: int, size: int, rounds: int, repeat: int) -> None:
    print(f"  {device}, maps [{batch}, {CHANNELS}, {size}, {size}], r = {REDUCTION}, {rounds} rounds of {repeat}")
    x, y = torch.randn(2, batch, CHANNELS, size, size).to(device)
    equivalents = public()
    for kind, timed in (("forward", forward), ("forward and backward", backward)):
        print(f"  {kind:<24} {'ms':>8}   {'beside add':<26} beside the public one")
        for name in operator_names():
            ratio_of_choice = REDUCTION if operator(name).takes_reduction else None
            modules = {
                "add": build_fusion(FusionChoice("add"), CHANNELS),
                "ours": build_fusion(FusionChoice(name, ratio_of_choice), CHANNELS),
                **equivalents.get(name, {}),
            }
            runs = {label: timed(module.to(device), x, y, repeat) for label, module in modules.items()}
            seconds = in_turn(runs, rounds)
            theirs = [label for label in modules if label not in ("add", "ours")]
            fastest = min(theirs, key=lambda label: statistics.median(seconds[label]), default=None)
            beside = "" if fastest is None else f"{ratio(seconds['ours'], seconds[fastest])} {fastest}"
            milliseconds = statistics.median(seconds["ours"]) * 1e3 / repeat
            print(f"    {name:<22} {milliseconds:8.3f} {ratio(seconds['ours'], seconds['add']):<28} {beside}")


def main() -> None:
    """Each operator's forward and backward pass beside `add` and beside timm's or torchvision's, on CPU and GPU."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    measure("cpu", batch=8, size=16, rounds=15, repeat=10)
    if torch.cuda.is_available():
        measure("cuda", batch=128, size=28, rounds=20, repeat=20)
