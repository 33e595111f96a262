"""What every fusion operator must hold, as a check for ours and for a user's own: `check_operator("aff")`."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from search_spaces.closed_forms import SUMS, ClosedForm
from search_spaces.errors import UserError, unknown
from search_spaces.fusions import layers
from search_spaces.fusions.registry import FusionOperator, operator
from search_spaces.properties import PROPERTIES, Failed, MacCounter, Subject, one_line


@dataclass(frozen=True)
class Finding:
    """One property of one operator: what was expected of it and what it gave."""

    operator: str
    property: str
    passed: bool
    expected: str
    given: str

    def __str__(self) -> str:
        return f"{self.operator}: {self.property}: expected {self.expected}, given {self.given}"


class ConformanceError(UserError, AssertionError):
    """An operator lacks properties that a search relies on; `findings` holds all, the message those that failed."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("; ".join(str(finding) for finding in findings if not finding.passed))
        self.findings = list(findings)


def check_operator(
    name_or_class: str | type[nn.Module],
    *,
    channels: int = 16,
    sizes: Sequence[tuple[int, int]] = ((7, 5), (1, 1), (6, 6)),
    reduction: int = 4,
    properties: Collection[str] | None = None,
    count_macs: MacCounter | None = None,
    form: ClosedForm | None = None,
) -> list[Finding]:
    """Try an operator against every property of `PROPERTIES`, or those of them that are named.

    Args:
        name_or_class: a registered operator, or a class that is called as one.
        sizes: heights and widths of the maps it is tried on.
        count_macs: counts a module's multiply-adds on given maps (`trials.costs.count_macs`); without it the
            closed form of the multiply-adds is not checked.
        form: what it costs by its formula; without it that of `closed_forms`, which has ours.

    Raises:
        ConformanceError: a property does not hold; it names operator, property, what was expected and given.
        SpaceError: the operator or a property is not known.
    """
    op = operator(name_or_class) if isinstance(name_or_class, str) else _unregistered(name_or_class)
    ratio = reduction if op.takes_reduction else None
    form = SUMS.get(op.name, ClosedForm()) if form is None else form
    subject = Subject(op, channels, tuple(sizes), ratio, count_macs, form)
    for name in properties or ():
        if name not in PROPERTIES:
            raise unknown("property of fusion operators", name, PROPERTIES)
    findings = []
    with torch.random.fork_rng(devices=[]):
        for name in PROPERTIES if properties is None else properties:
            torch.manual_seed(0)
            findings.append(_try(subject, name))
    if not all(finding.passed for finding in findings):
        raise ConformanceError(findings)
    return findings


def _unregistered(module: type[nn.Module]) -> FusionOperator:
    kinds = [parameter.kind for parameter in inspect.signature(module).parameters.values()]
    positional = sum(kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for kind in kinds)
    summary = (module.__doc__ or "").strip().partition("\n")[0]
    return FusionOperator(module.__name__, module, summary, layers.bottleneck_width if positional > 1 else None)


def _try(subject: Subject, name: str) -> Finding:
    expected, check = PROPERTIES[name]
    try:
        check(subject)
    except Failed as failed:
        return Finding(subject.op.name, name, False, failed.expected, failed.given)
    except Exception as error:  # whatever a user's operator raises is what it gave
        return Finding(subject.op.name, name, False, expected, one_line(error))
    return Finding(subject.op.name, name, True, expected, expected)
