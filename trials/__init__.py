"""Judges a candidate: data, training, cost, latency, and the record of it.

    TrialJob ── run_trial(plan, job) ──> TrialResult ── Store.append ──> study.db

What the reports read (`Store`, `TrialResult`, `Constraint`) is free of torch; the rest is imported on first use.
"""
