# ruff: noqa: E501  (a block is one line, as far as it can be)
"""What people write in their networks: blocks of C channels, each a class body that takes and gives [B, C, H, W]."""

from __future__ import annotations

HEADER = """\
import random

import numpy
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint

RNG = numpy.random.default_rng(0)


class Symmetric(nn.Module):
    def forward(self, w):
        return (w + w.flip(3)) / 2


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * x * g


class ValueBranch(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1), nn.ReLU(inplace=True))

    def forward(self, x):
        if x.abs().max() > 1e6:
            x = x.clamp(-1e6, 1e6)
        return self.inner(x)


def halve(module, given, result):
    return result * 0.5
"""

_CONV = "self.a = nn.Conv2d(c, c, 3, 1, 1)"
_NORM = f"{_CONV}; self.n = nn.BatchNorm2d(c)"

#: name: (what __init__ does, what forward does); the class has `c`.
BLOCKS: dict[str, tuple[str, str]] = {
    "residual": (_NORM, "return F.relu(x + self.n(self.a(x)))"),
    "in_place_sum": (_NORM, "y = self.n(self.a(x)); y += x; return F.relu(y, inplace=True)"),
    "in_place_before": (_NORM, "y = F.relu_(self.n(self.a(x))); return y + x"),
    "in_place_of_input": (_CONV, "z = x * 1; y = self.a(x) + z; F.relu_(z); return y * 0.5 + z"),
    "in_place_after": (_CONV, "y = x + self.a(x); F.leaky_relu_(y, 0.1); return y"),
    "in_place_module": (f"{_CONV}; self.r = nn.ReLU6(inplace=True)", "return self.r(x + self.a(x))"),
    "alias": (_CONV, "y = self.a(x); v = y[:, : c // 2]; y += x; return torch.cat([v, y[:, c // 2 :]], 1)"),
    "concatenation": (f"{_CONV}; self.b = nn.Conv2d(2 * c, c, 1)", "return self.b(torch.cat([x, self.a(x)], 1))"),
    "three": (_CONV, "return x + self.a(x) + F.avg_pool2d(x, 3, 1, 1)"),
    "gate": (_CONV, "return x + self.a(x) * torch.sigmoid(x.mean((2, 3), keepdim=True))"),
    "draw_item": (_CONV, "if self.training and torch.rand(1).item() < 0.3: return x\n        return x + self.a(x)"),
    "draw_always": (_CONV, "return x + self.a(x) * (1 + 0 * torch.rand(1).item())"),
    "draw_constant": (_CONV, "return x + self.a(x) * (torch.rand(1) if self.training else 1.0)"),
    "draw_mask": (_CONV, "m = torch.bernoulli(torch.full((1, c, 1, 1), 0.5)); return x + self.a(x) * (m * 0 + 1)"),
    "draw_like": (_CONV, "return x + F.dropout(self.a(x), 0.2, self.training)"),
    "draw_python": (_CONV, "return x if self.training and random.random() < 0.3 else x + self.a(x)"),
    "draw_numpy": (_CONV, "return x if self.training and numpy.random.rand() < 0.3 else x + self.a(x)"),
    "draw_global": (_CONV, "return x if self.training and RNG.random() < 0.3 else x + self.a(x)"),
    "draw_own": (f"{_CONV}; self.g = random.Random(3)",
                 "return x if self.training and self.g.random() < 0.5 else x + self.a(x)"),
    "draw_permutation": (_CONV, "i = torch.randperm(2); s = (x, self.a(x)); return s[int(i[0])] + s[int(i[1])]"),
    "size_branch": (_CONV, "y = self.a(x); return x + y if x.shape[-1] > 17 else x + 2 * y"),
    "size_odd": (_CONV, "y = F.max_pool2d(self.a(x), 2); p = x.shape[-1] % 2\n"
                 "        y = F.interpolate(y, scale_factor=2.0)\n"
                 "        if p: y = F.pad(y, (0, 1))\n"
                 "        q = x.shape[-2] % 2\n"
                 "        if q: y = F.pad(y, (0, 0, 0, 1))\n        return x + y"),
    "size_loop": (_CONV, "y = self.a(x)\n        for part in x.split(8, 2): y = y + part.mean()\n        return x + y"),
    "size_number": (_CONV, "return x + self.a(x) / float(x.shape[-1])"),
    "size_range": (_CONV, "y = self.a(x)\n        for i in range(x.shape[0]): y = y * 0.9\n        return x + y"),
    "size_weight": (_CONV, "return x + self.a(x) * (x.shape[0] / 4)"),
    "resized": (_CONV, "y = F.max_pool2d(self.a(x), 2); return x + F.interpolate(y, size=x.shape[-2:])"),
    "by_value": (_CONV, "return x + self.a(x) if x.sum() > 0 else x - self.a(x)"),
    "counter": (f"{_CONV}; self.calls = 0", "self.calls += 1; return x + self.a(x) * (1 + self.calls % 2)"),
    "counter_buffer": (f"{_CONV}; self.register_buffer('seen', torch.zeros(()))",
                       "self.seen += 1; return x + self.a(x) * self.seen.cos()"),
    "moving": (f"{_CONV}; self.register_buffer('mean', torch.zeros(1, c, 1, 1))",
               "if self.training: self.mean.mul_(0.9).add_(x.detach().mean((0, 2, 3), keepdim=True), alpha=0.1)\n"
               "        return x - self.mean + self.a(x)"),
    "moving_always": (f"{_CONV}; self.register_buffer('mean', torch.zeros(1, c, 1, 1))",
                      "y = x - self.mean + self.a(x); self.mean.copy_(0.9 * self.mean.clone()); return y"),
    "stored": (f"{_CONV}; self.last = None", "self.last = x; return x + self.a(x)"),
    "stored_list": (f"{_CONV}; self.seen = []", "self.seen.append(x); y = x + self.a(self.seen[-1]); "
                    "self.seen.clear(); return y"),
    "reused": (_CONV, "x = x + self.a(x); return x + self.a(x)"),
    "two_names": (f"{_CONV}; self.many = nn.ModuleList([self.a])", "for m in self.many: x = x + m(x)\n        return x"),
    "two_names_norm": (f"{_NORM}; self.norm = self.n", "return x + self.norm(self.a(x))"),
    "tied": (f"{_CONV}; self.b = nn.Conv2d(c, c, 3, 1, 1); self.b.weight = self.a.weight",
             "return x + self.b(self.a(x))"),
    "unused": (f"{_CONV}; self.spare = nn.Sequential(nn.Conv2d(c, 3, 1), nn.BatchNorm2d(3))", "return x + self.a(x)"),
    "unused_weight": (f"{_CONV}; self.w = nn.Parameter(torch.ones(3))", "return x + self.a(x)"),
    "weight_norm": ("self.a = parametrizations.weight_norm(nn.Conv2d(c, c, 3, 1, 1))", "return x + self.a(x)"),
    "spectral_norm": ("self.a = parametrizations.spectral_norm(nn.Conv2d(c, c, 3, 1, 1))", "return x + self.a(x)"),
    "own_parametrization": (f"{_CONV}; parametrize.register_parametrization(self.a, 'weight', Symmetric())",
                            "return x + self.a(x)"),
    "block_parametrization": ("self.w = nn.Parameter(torch.randn(c, c, 3, 3) * 0.1); "
                              "parametrize.register_parametrization(self, 'w', Symmetric())",
                              "return x + F.conv2d(x, self.w, padding=1)"),
    "hook": (f"{_CONV}; self.a.register_forward_hook(halve)", "return x + self.a(x)"),
    "hook_of_block": (f"{_CONV}; self.register_forward_hook(halve)", "return x + self.a(x)"),
    "backward_hook": (f"{_CONV}; self.a.register_full_backward_hook(lambda m, i, o: (i[0] * 0.5,))",
                      "return x + self.a(x)"),
    "no_grad": (_CONV, "with torch.no_grad(): y = self.a(x)\n        return x + y"),
    "detached": (_CONV, "return x + self.a(x.detach())"),
    "autocast": (_CONV, "with torch.autocast('cpu', torch.bfloat16): y = self.a(x)\n        return x + y.float()"),
    "double": (_CONV, "return (x.double() + self.a(x).double()).float()"),
    "half": (_CONV, "return (x.bfloat16() + self.a(x).bfloat16()).float()"),
    "kept": ("self.a = ValueBranch(c)", "return x + self.a(x)"),
    "kept_sum": ("self.a = ValueBranch(c)", "y = self.a(x); y = y + x; return y + self.a(y)"),
    "checkpoint": (_CONV, "return x + checkpoint(self.a, x, use_reentrant=False)"),
    "function": (_CONV, "return x + self.a(Square.apply(x) * 0.1)"),
    "frozen": (f"{_NORM}; self.a.requires_grad_(False); self.n.eval()", "return x + self.n(self.a(x))"),
    "own_train": (_NORM, "return x + self.n(self.a(x))\n\n    def train(self, mode=True):\n        super().train(mode); "
                  "self.n.eval(); return self"),
    "by_training": (_CONV, "return x + self.a(x) * (1.0 if self.training else 0.9)"),
    "by_other_training": (_NORM, "return x + F.dropout(self.a(x), 0.2, self.n.training)"),
    "shuffle": (_CONV, "b, k, h, w = x.shape; y = self.a(x).view(b, 2, k // 2, h, w).transpose(1, 2).reshape(b, k, h, w)\n"
                "        return x + y"),
    "chunks": ("self.a = nn.Conv2d(c // 2, c // 2, 3, 1, 1)", "p, q = x.chunk(2, 1); return torch.cat([p, q + self.a(q)], 1)"),
    "channels_last": ("self.l = nn.Linear(c, c); self.m = nn.LayerNorm(c)",
                      "y = x.permute(0, 2, 3, 1); y = y + self.l(self.m(y)); return y.permute(0, 3, 1, 2)"),
    "tokens": ("self.l = nn.Linear(c, c)", "t = x.flatten(2).transpose(1, 2); t = t + self.l(t)\n"
               "        return x + t.transpose(1, 2).reshape(x.shape)"),
    "windows": ("self.l = nn.Linear(c, c)", "b, k, h, w = x.shape\n"
                "        t = x.view(b, k, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(b, -1, 4, k)\n"
                "        t = t + self.l(t)\n"
                "        t = t.view(b, h // 2, w // 2, 2, 2, k).permute(0, 5, 1, 3, 2, 4).reshape(b, k, h, w); return x + t"),
    "heads": ("self.q = nn.Linear(c, c)", "b, k, h, w = x.shape; t = x.flatten(2).transpose(1, 2)\n"
              "        s = self.q(t).view(b, -1, 2, k // 2).transpose(1, 2); r = t.view(b, -1, 2, k // 2).transpose(1, 2)\n"
              "        a = s @ r.transpose(-1, -2) * 0.1 + r @ s.transpose(-1, -2) * 0.1\n"
              "        return x + (a.softmax(-1) @ s).transpose(1, 2).reshape(b, h, w, k).permute(0, 3, 1, 2)"),
    "transformer": ("self.l = nn.TransformerEncoderLayer(c, 2, c, dropout=0.0, batch_first=True)",
                    "t = self.l(x.flatten(2).transpose(1, 2)); return x + t.transpose(1, 2).reshape(x.shape)"),
    "norms": (f"{_CONV}; self.g = nn.GroupNorm(2, c); self.i = nn.InstanceNorm2d(c, affine=True)",
              "return self.g(x) + self.i(self.a(x))"),
    "constant": (f"{_CONV}; self.k = torch.full((c, 1, 1), 0.5)", "return x * self.k + self.a(x) * torch.tensor(2.0)"),
    "whole_numbers": (f"{_CONV}; self.register_buffer('i', torch.arange(c).flip(0))", "return x[:, self.i] + self.a(x)"),
    "small_numbers": (f"{_CONV}; self.register_buffer('i', torch.ones(c, 1, 1, dtype=torch.int32))",
                      "return x * self.i + self.a(x)"),
    "not_kept": (f"{_CONV}; self.register_buffer('k', torch.full((c, 1, 1), 0.5), persistent=False)",
                 "return x * self.k + self.a(x)"),
    "named_parts": ("self.p = nn.ModuleDict({'one': nn.Conv2d(c, c, 1)}); self.w = nn.ParameterList([torch.ones(c, 1, 1)])",
                    "return x + self.p['one'](x) * self.w[0]"),
    "by_name": (_CONV, "for p in self.a.parameters(): x = x + 0 * p.sum()\n        return x + self.a(x)"),
    "lazy": ("self.a = nn.LazyConv2d(c, 3, 1, 1)", "return x + self.a(x)"),
    "lambda": (f"{_CONV}; self.f = lambda t: t * 2", "return x + self.f(self.a(x))"),
    "parallel": ("self.a = nn.DataParallel(nn.Conv2d(c, c, 3, 1, 1))", "return x + self.a(x)"),
    "scripted": ("self.a = torch.jit.script(nn.Conv2d(c, c, 3, 1, 1))", "return x + self.a(x)"),
    "assertion": (_CONV, "torch._assert(x.dim() == 4, 'maps'); assert x.shape[1] == c; return x + self.a(x)"),
    "dictionary": (_CONV, "d = {'x': x, 'y': self.a(x)}; return d['x'] + d['y']"),
    "where": (_CONV, "return torch.where(x > 0, x, 0.1 * x) + self.a(x)"),
    "index_put": (_CONV, "y = self.a(x); y[:, 0] = 0.0; return x + y"),
    "mixed_grad": (_CONV, "return x + (self.a(x) if torch.is_grad_enabled() else self.a(x) * 1.0)"),
}  # fmt: skip

#: What is done to the whole network: name: lines of its __init__, of its forward, and what NET is.
WHOLE: dict[str, tuple[str, str, str]] = {
    "nothing": ("", "", "Net(num_classes)"),
    "hook_of_all": ("self.register_forward_hook(halve)", "", "Net(num_classes)"),
    "draws": ("", "if self.training and torch.rand(1).item() < 0.5: x = x * 0.9", "Net(num_classes)"),
    "noise": ("", "x = x + torch.randn_like(x) * 0.1 if self.training else x", "Net(num_classes)"),
    "noise_always": ("", "x = x + torch.randn_like(x) * 0.1", "Net(num_classes)"),
    "counts": ("self.calls = 0", "self.calls += 1", "Net(num_classes)"),
    "parallel": ("", "", "nn.DataParallel(Net(num_classes))"),
    "scripted": ("", "", "torch.jit.script(Net(num_classes))"),
    "half": ("", "", "Net(num_classes).half()"),
    "frozen": ("", "", "Net(num_classes).requires_grad_(False)"),
    "nested": ("", "", "nn.Sequential(Net(num_classes), nn.Identity())"),
}
