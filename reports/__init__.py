"""Explains a run: the front, the selections, the HTML page. Imports no torch.

study.db ── RunView.load ──> RunView ── page.write_report ──> report.html
"""

from reports.errors import NothingFeasible, SelectionError
from reports.trial_view import TrialView
from reports.view import RunView

__all__ = ["NothingFeasible", "RunView", "SelectionError", "TrialView"]
