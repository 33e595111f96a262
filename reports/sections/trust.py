"""The finalists, and how far the ranking can be trusted."""

from __future__ import annotations

from typing import Any

from reports import noise, trust
from reports.blocks import Block, absent, chart, heading, table, text
from reports.blocks import section as part
from reports.evidence import evidence_story
from reports.finalists import Finals, finals_of
from reports.precision import precision_story
from reports.regime import regime_story
from reports.verdict import FINAL_COLUMNS, final_rows, finals_story, verdict_of
from reports.view import RunView


def finalists(view: RunView) -> dict[str, Any]:
    """What they were selected by, and what came of it on images that the search never saw."""
    finals, judged = finals_of(view), verdict_of(view)
    blocks: list[Block] = []
    if judged is not None:
        blocks.append(text(f"{judged.text}."))
    rows = [] if finals is None else final_rows(finals)
    if finals is not None and rows:
        if any(one.score is not None for one in finals.everyone):
            blocks.append(_selected_and_tested(finals))
        blocks.append(table(FINAL_COLUMNS, rows))
        blocks += [text(sentence) for sentence in (*finals_story(finals), *_calibration(finals))]
    elif judged is None:
        blocks.append(absent(
            "Not judged in this run: nas finalists trains the best anew beside all-add, and says whether they beat it "
            "on images that the search never saw."
        ))  # fmt: skip
    return part("finalists", "The finalists", blocks)


def _selected_and_tested(finals: Finals) -> Block:
    shown = [(place, one) for place, one in enumerate(finals.everyone) if one.score is not None]
    rows = []
    for place, one in shown:
        gain = None if place == 0 else finals.by_score[place - 1]
        tested, margin = 100 * (one.score or 0.0), 0.0 if gain is None else 100 * gain.margin
        name = "all-add" if place == 0 else f"trial {one.trial.result.number}"
        rows.append({
            "label": name, "mean": round(tested, 4), "low": round(tested - margin, 4),
            "high": round(tested + margin, 4),
            "filled": True, "before": round(100 * (one.trial.quality or 0.0), 4),
        })  # fmt: skip
    unit = f"{finals.view.score_label} (%)"
    cells = [
        [r["label"], f"{r['before']:.2f}", f"{r['mean']:.2f}", f"{r['low']:.2f}", f"{r['high']:.2f}"] for r in rows
    ]
    seeds = max(len(one.trainings) for one in finals.everyone)
    return chart(
        "forest", "finals", "Selected, and tested on unseen images",
        f"What all-add and {len(rows) - 1} finalists were selected by, and came to on unseen images.",
        "Open: what each was selected by, its estimate from trainings on the validation split. Filled: the mean of its "
        f"trainings anew on the test split (up to {seeds} seeds); the bar is the error of its difference to all-add. "
        "What falls from open to filled is regression to the mean.",
        ["network", "selected by", "tested", "low", "high"], cells, unit=unit, intervals=rows,
    )  # fmt: skip


def _calibration(finals: Finals) -> list[str]:
    """How many tested gains lie within the intervals of the estimates that they were selected by."""
    pairs = [
        (one.trial.gain, gain)
        for one, gain in zip(finals.rivals, finals.by_score, strict=False)
        if gain is not None and one.trial.gain is not None
    ]
    if not pairs:
        return []
    inside = sum(told.low <= 100 * gain.mean <= told.high for told, gain in pairs)
    return [
        f"Calibration: {inside} of {len(pairs)} tested gains over all-add lie within the 90 % "
        "intervals of the estimates "
        "that they were selected by; finalists were trained on more images, and their own test has noise as well."
    ]


def ranking(view: RunView) -> dict[str, Any]:
    """Noise, agreement of short with long trainings, what was seen and what is not told apart."""
    blocks = [text(s) for s in (*regime_story(view), *precision_story(view), *evidence_story(view))]
    story = trust.trust_story(view)
    blocks += [text(sentence) for sentence in story] or [absent(
        "Neither the noise of the seeds nor the agreement with longer trainings was measured in this "
        "run: nas noise and "
        "nas trust do that."
    )]  # fmt: skip
    if rows := noise.noise_rows(noise.noise_floors(view)):
        blocks += [heading("What seeds alone do to a score"), table(noise.NOISE_COLUMNS, rows, noise.NOISE_LEGEND)]
        if view.advice is not None:
            blocks.append(text(noise.advice_text(view.advice)))
    known = trust.trust_of(view)
    if known is not None and (agreements := trust.agreement_rows(known)):
        blocks.append(heading("Short trainings beside long ones"))
        blocks.append(table(trust.AGREEMENT_COLUMNS, agreements, trust.AGREEMENT_LEGEND))
    if view.profile is None and view.complete:
        blocks.append(text("No latency was predicted: there is no predictor whose error could be told."))
    if view.measured:
        off = len(view.taken_off)
        blocks.append(text(f"Measuring at the end found {off or 'no'} violation{'' if off == 1 else 's'} of a budget."))
    return part("trust", "How far the ranking can be trusted", blocks)
