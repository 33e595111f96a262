"""Explains a run: the front, the selections, the HTML page. Imports no torch.

study.db ── RunView.load ──> RunView ── write_report ──> report.html
"""

from reports.page import write_report
from reports.view import NothingFeasible, RunView, SelectionError, TrialView

__all__ = ["NothingFeasible", "RunView", "SelectionError", "TrialView", "write_report"]
