"""All trials, the data, how latency was measured, and where everything comes from."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from reports import scores, summary
from reports.blocks import Block, absent, chart, command, facts, folded, heading, lead, table, text
from reports.blocks import section as part
from reports.contact import contact_of, contact_text
from reports.formatting import MISSING, format_percent, format_size
from reports.latency import latency_story
from reports.view import RunView

_PROTOCOL = {
    "batch_size": "images a pass", "warmup": "warm-up passes", "passes": "timed passes", "block": "passes a block",
    "max_drift": "largest drift", "max_spread": "largest spread (IQR / median)", "attempts": "attempts until quiet",
}  # fmt: skip
_DATA = {
    "train": "training images", "val": "validation images", "test": "test images", "image_size": "image size (px)",
}  # fmt: skip


def trials(view: RunView) -> dict[str, Any]:
    if not view.trials:
        return part("trials", "All trainings and trials", [absent("The record holds no trials yet.")])
    count = len(view.trials)
    beside = f" {len(view.beside):,} further trainings belong to no trial." if view.beside else ""
    blocks = [
        lead(
            f"{count:,} {'trial' if count == 1 else 'trials'}, the failed and the gated "
            f"included.{beside} Draw along an "
            "axis to keep what passes there; search and filters hold for the table, the axes and the "
            "marks of the front."
        ),
        {"kind": "filters"},
        chart(
            "parallel", "parallel", "What goes with what",
            f"A line for each of {count:,} trials, through its costs and its score.",
            "Each line is a trial, as recorded. Of a network of many points the axes named by operators say at how "
            "many points each stands; of another each point has an axis. What a brush or a filter leaves out is pale.",
        ),
        chart(
            "trials", "trials-table", "All trials", f"A table of {count:,} trials, which sorts and filters.",
            "Score: as seen in one training on the validation split"
            + ("; estimate: from all trainings, ± where it lies with a probability of 90 %." if view.model else "."),
        ),
    ]  # fmt: skip
    return part("trials", "All trainings and trials", blocks)


def data(view: RunView) -> dict[str, Any]:
    """What the networks were judged on: facts, figures by size and category, and images as the best sees them."""
    found = summary.data_facts(view)
    blocks: list[Block] = []
    figures = scores.figure_table(view)
    if figures is not None:
        sizes = found.get("objects_by_size") or {}
        shown = ", ".join(f"{count:,} {size}" for size, count in sizes.items())
        which = f", which show {shown} objects (small: under 32² pixels, large: from 96² on)" if shown else ""
        blocks.append(
            lead(f"On the {found.get('val') or ''} validation images{which}; in brackets, points to all-add.")
        )
    for one, first in ((figures, "trial"), (scores.category_table(view), "category")):
        if one is not None:
            of = "trial " if first == "category" else ""
            rows = [
                [head, *(f"{cell.text} ({cell.gain})" if cell.gain else cell.text for cell in line)]
                for head, line in zip(one.heads, one.lines, strict=True)
            ]
            blocks.append(table([first, *(f"{of}{column}" for column in one.columns)], rows))
    picture = scores.picture_of(view)
    if picture and view.seen is not None:
        trial = view.seen["trial"]
        beside = "" if view.seen.get("baseline") is None else ", as all-add"
        others = beside and " what all-add finds,"
        least = f" with a score of at least {view.seen['least_score']}" if view.task == "detection" else ""
        blocks.append({
            "kind": "image", "src": picture,
            "alt": f"Validation images, each as annotated{beside} and as trial {trial} sees it.",
            "caption": f"Validation images, of each from the left: what is annotated,{others} what "
            f"trial {trial} finds{least}. {scores.compared_text(view)}{', '.join(view.seen['files'])}.",
        })  # fmt: skip
    elif (contact := contact_of(view)) is not None:
        blocks.append({
            "kind": "contact", "text": contact_text(contact), "shown": [asdict(one) for one in contact.shown],
            "trial": contact.trial,
        })  # fmt: skip
    elif view.complete:
        blocks.append(absent(
            "No contact sheet was made: it takes the kept weights of all-add and of a recommended trial other than it."
            if view.task == "classification" else "No picture of what the best network sees was kept."
        ))  # fmt: skip
    named = [(_DATA.get(key, key), value) for key, value in found.items()]
    blocks += [heading("Data"), facts(named) if named else absent("The data are not described in the record.")]
    return part("data", "Data", blocks)


def latency(view: RunView) -> dict[str, Any]:
    timed = [trial.latency for trial in view.trials if trial.latency is not None]
    blocks: list[Block] = []
    if timed:
        unstable = sum(not one.stable for one in timed)
        known = f"{len(timed)} latenc{'y is' if len(timed) == 1 else 'ies are'} known"
        blocks.append(lead(
            "Real forward passes of the network, warm, in blocks that alternate with the all-add network so that the "
            f"machine's drift cancels out. {known}; {unstable or 'none'} of them "
            f"{'is' if unstable == 1 else 'are'} marked "
            "unstable."
        ))  # fmt: skip
        blocks += [text(sentence) for sentence in latency_story(view)]
        if decoding := scores.decoding_text(view):
            blocks.append(text(decoding))
        protocol = view.description.get("latency_protocol") or {}
        if protocol:
            blocks.append(facts(
                (_PROTOCOL.get(key, key),
                 format_percent(value, 0) if key in ("max_drift", "max_spread") and isinstance(value, float) else value)
                for key, value in protocol.items()
            ))  # fmt: skip
    else:
        blocks.append(absent("Latency was not measured in this run."))
    for count, environment in summary.environments(view)[:8]:
        blocks += [heading(f"Environment of {count} {'trial' if count == 1 else 'trials'}"), facts(environment.items())]
    return part("latency", "How latency was measured", blocks)


def provenance(view: RunView) -> dict[str, Any]:
    space, points = summary.space_of(view), view.description.get("points") or ()
    seeds = sorted({r.seed for r in view.results})
    blocks = [
        heading("Space"),
        facts([
            ("name", space.get("name", MISSING)), ("architectures", format_size(view.description.get("size"))),
            ("fusion points", len(points)), ("operators", ", ".join(map(str, space.get("operators") or [])) or MISSING),
            ("reduction ratios", ", ".join(map(str, space.get("reductions") or [])) or MISSING),
            ("fingerprint (SHA-256)", summary.space_fingerprint(view)),
            ("training seeds", ", ".join(map(str, seeds)) or MISSING),
        ]),
    ]  # fmt: skip
    if environment := view.description.get("environment"):
        blocks += [heading("Software and hardware"), facts(environment.items())]
    resumes = max(0, len(view.sessions) - 1)
    blocks.append(
        text(f"{len(view.sessions)} session{'' if len(view.sessions) == 1 else 's'}, {resumes} of them resumed.")
    )
    blocks.append(heading("Reproduce"))
    line = _search_command(view)
    blocks.append(command(line) if line else text(
        "Run nas search … --out NEW_FOLDER with the configuration below."
    ))  # fmt: skip
    blocks.append(folded("Configuration (JSON)", json.dumps(view.config, indent=2, ensure_ascii=False, default=str)))
    return part("provenance", "Provenance", blocks)


def _search_command(view: RunView) -> str | None:
    """The command of the first session, where the record has it."""
    for session in view.sessions:
        found = (session.details or {}).get("command")
        if found:
            return found if isinstance(found, str) else " ".join(str(word) for word in found)
    return None
