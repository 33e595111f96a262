"""One export from beginning to end: write everything, check each artefact against the network, then publish."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nas.export.card import write_card
from nas.export.errors import ArtefactError, ExportError
from nas.export.folder import refuse_foreign, staged
from nas.export.formats import Format, Job, chosen
from nas.export.gates import IMAGES, constant_gates, said
from nas.export.hashes import write_hashes
from nas.export.kinds import split_judged_on
from nas.export.parity import Proof, prove, report_of, write_report
from nas.export.standalone import normalise
from nas.export.trained import TrainedNetwork, write_description, write_preprocessing, write_weights
from nas.export.validation import Judge, Validation


def _quiet(_: str) -> None:
    return None


def export_network(
    trained: TrainedNetwork,
    out: Path,
    validation: Validation | None = None,
    announce: Callable[[str], None] = _quiet,
    formats: Sequence[str] | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Write arch.json, the weights, the artefacts and parity.json into `out`; the parity report.

    `validation` is the split on which the artefacts are compared with what was recorded of the network, see
    `validation_of`. `formats` names the artefacts, see `nas.export.formats`. An earlier export in `out` is replaced as
    a whole; `force` lets it stand beside files of others. An artefact that cannot be made, or does not agree with the
    network, is left out: `left_out` of the report says why.

    Raises:
        TaskError: the network and the split do not belong together.
        ExportError: there is no such format, several artefacts were made and none agrees with the network, or `out`
            holds other files. Nothing is left at `out` then, and an earlier export stays as it was.
    """
    forms = chosen(formats)
    refuse_foreign(out, force)  # before any work
    network = trained.build()
    judge = None if validation is None else validation.judge(trained, network)
    with staged(out, force) as folder:
        announce("writing the weights")
        write_weights(trained, network, folder)
        ranging = None if validation is None else validation.training
        job = Job(trained, network, folder, ranging if ranging is not None or judge is None else judge.images)
        left_out = {form.name: why for form in forms if (why := _written(form, job, announce)) is not None}
        made = [form for form in forms if form.name not in left_out]
        announce("comparing what was written with the trained network")
        proof = _proven(job, made, judge)
        for name, error in proof.wrong.items():
            left_out[name] = str(error)
            _remove(next(form for form in made if form.name == name), job)
        report = report_of(
            job, proof, judge, {form.name: left_out[form.name] for form in forms if form.name in left_out}
        )
        report["constant_gates"] = [] if judge is None else _still(job, judge)
        write_description(trained, job.facts, report["left_out"], folder / "arch.json")
        write_report(report, folder / "parity.json")
        write_preprocessing(trained, folder / "preprocessing.json")
        write_card(trained, report, [form for form in made if form.name in report["artefacts"]], folder)
        write_hashes(folder)
    for name, reason in report["left_out"].items():
        announce(f"{name} is left out: {reason}")
    for gate in report["constant_gates"]:
        announce(said(gate, split_judged_on(trained.provenance)))
    announce(f"exported to {out}")
    return report


def _written(form: Format, job: Job, announce: Callable[[str], None]) -> str | None:
    """Why there is none of it, None where there is."""
    why = form.missing()
    if why is not None:
        return why
    announce(f"writing {form.name}")
    try:
        form.write(job)
    except ExportError as error:
        _remove(form, job)
        return str(error)
    return None


def _proven(job: Job, made: list[Format], judge: Judge | None) -> Proof:
    """What was found of them. One that proves wrong is written in another way where there is one.

    Raises:
        ArtefactError: several were made, and all are wrong: one could be its exporter's fault, but the network of all
            is strange.
    """
    proof = prove(job, made, judge)
    again = [form for form in made if form.name in proof.wrong and form.write_otherwise(job)]
    if again:
        second = prove(job, [form for form in made if form in again or form.name not in proof.wrong], judge)
        proof = Proof(second.artefacts, second.verdict, second.rounding, {**_others(proof, again), **second.wrong})
    if made and len(proof.wrong) == len(made) > 1:
        raise next(iter(proof.wrong.values()))
    return proof


def _still(job: Job, judge: Judge) -> list[dict[str, Any]]:
    """Of one image nothing could be told."""
    if len(judge.images) < 2:
        return []
    inputs = normalise(judge.images[:: max(1, len(judge.images) // IMAGES)], job.trained.mean, job.trained.std)
    return constant_gates(job.network, job.trained.architecture, inputs)


def _others(proof: Proof, again: list[Format]) -> dict[str, ArtefactError]:
    return {name: error for name, error in proof.wrong.items() if name not in {form.name for form in again}}


def _remove(form: Format, job: Job) -> None:
    job.facts.pop(form.name, None)
    for name in (form.name, *form.beside):
        path = job.folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
