"""A run as a library object: its folder, its trials, its front, its report, its exports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.settings.search import SearchConfig
from reports import RunView, SelectionError, TrialView
from reports.document import document_of, outline_of
from reports.finalists import finals_of
from reports.formats import write_document
from reports.front_picture import picture
from reports.verdict import verdict_by_estimates, verdict_of
from trials.record.training import Training
from trials.record.weights import training_weights_path, weights_path
from trials.trial import TrialState

if TYPE_CHECKING:
    from nas.proposing.exported import OptunaStudy

EXPORT_NAME = "exported"


class Run:
    """A finished, interrupted or still running search, read from its folder. Free of torch until an export."""

    def __init__(self, path: Path | str, *, data: str | None = None, space: str | None = None) -> None:
        """`data` and `space` say where those are now, if they have moved. Raises StoreError when the folder holds no
        readable run."""
        self.path = Path(path)
        self._places = {"data": data, "space": space}
        self.view = RunView.load(self.path).estimated()

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.view.count(TrialState.COMPLETE)} complete trials)"

    @property
    def config(self) -> SearchConfig:
        """The configuration that the run records, with its data and network where they are now."""
        from nas.trainings.recorded import recorded_config

        return recorded_config(self.view, self._places)

    @property
    def trials(self) -> tuple[TrialView, ...]:
        """Every recorded trial, by number."""
        return self.view.trials

    def front(self) -> tuple[TrialView, ...]:
        """The Pareto front in the run's objectives, the highest score first."""
        return self.view.front

    def select(self, selector: str | int = "knee") -> TrialView:
        """A trial by number, `best | knee | fastest | cheapest`, see `RunView.select`, or `verdict`: the finalist that
        beats all-add and is within the present budgets, the knee where none is."""
        if selector == "verdict":
            verdict = verdict_of(self.view)
            selector = "knee" if verdict is None or verdict.trial is None else verdict.trial
        return self.view.select(str(selector))

    def final_training(self, trial: TrialView) -> Training | None:
        """That of a finalist whose weights were kept, None of any other trial."""
        finals = finals_of(self.view)
        for one in () if finals is None else finals.everyone:
            if one.trial.result.number == trial.result.number:
                found = one.trainings.get(finals.plan.seeds[0]) if finals is not None else None
                there = found is not None and training_weights_path(self.path, found).is_file()
                return found if there else None
        return None

    def kept_training(self, trial: TrialView) -> Training | None:
        """Whose weights are exported where they are not those of the trial itself: a finalist's, else those of its
        longest look."""
        final = self.final_training(trial)
        if final is not None or trial.longer is None:
            return final
        return trial.longer if training_weights_path(self.path, trial.longer).is_file() else None

    def _repr_html_(self) -> str:
        """What a notebook shows of a run: its verdict and its front."""
        from html import escape

        outline = outline_of(self.view)
        return f"<p><b>{escape(outline['verdict']['headline'])}</b></p>{picture(outline)}"

    def report(self, path: Path | str | None = None, form: str = "html") -> Path:
        """Write the report (`report.html` in the run's folder), in another of `reports.formats.FORMATS` where that is
        asked for, and return its path.

        Raises:
            SelectionError: something else is at `path`.
            ReportError: no such form, or a picture asks for a browser that is not there.
        """
        target = self.path / f"report.{form}" if path is None else Path(path)
        if target.is_dir() or (target.exists() and target.suffix.lower() not in (f".{form}", f".{form[:3]}")):
            what = "HTML page" if form == "html" else f"{form.upper()} file"
            raise SelectionError(f"--out {target} exists and is no {what}: give a path such as report.{form}")
        return write_document(document_of(self.view), target, form)

    def export(
        self,
        selector: str | int = "knee",
        out: Path | str | None = None,
        announce: Callable[[str], None] = lambda line: None,
        formats: Sequence[str] | None = None,
        force: bool = False,
    ) -> dict[str, Any]:
        """Export a trial's network to `out` (`exported` in the run's folder); returns the parity report.

        Of a finalist it is the one that was trained on training and validation images, and judged on the test split; of
        another trial the one that was trained for longest.

        Writes what `nas.export.export_network` writes; an artefact that could not be made is left out, and `left_out`
        of the report says why.

        Raises:
            SelectionError: no such trial, or its weights were not kept.
            ExportError: no artefact agrees with the trained network, or `out` holds something else.
        """
        from nas.export import TrainedNetwork, export_network, validation_of
        from nas.trainings.recorded import recorded_space
        from trials.record.weights import read_weights
        from trials.training.trainer import make_trainer

        trial = self.select(selector)
        kept = self.kept_training(trial)
        number = trial.result.number
        weights = weights_path(self.path, number) if kept is None else training_weights_path(self.path, kept)
        if not weights.is_file():
            there = [t for t in self.view.complete if weights_path(self.path, t.result.number).is_file()]
            raise SelectionError(
                f"the weights of trial {trial.result.number} are not kept: choose {_numbers(there)}, or train it anew: "
                f"nas retrain {self.path} --trial {trial.result.number} --start scratch "
                f"--epochs {self.view.config['training']['epochs']}"
            )
        config = self.config
        trainer = make_trainer(config.data_config(), config.training.recipe(), announce)
        data = trainer.data
        recorded = self.view.description["data"]["fingerprint"]
        if data.fingerprint != recorded:
            raise SelectionError(
                f"the data of {config.data} are not those of the search (fingerprint {data.fingerprint}, recorded "
                f"{recorded}): put back the data that {self.path} was made with, or say where they are with --data"
            )
        trained = TrainedNetwork(
            space=recorded_space(self.view, config),
            architecture=trial.result.architecture,
            state_dict=read_weights(weights),
            classes=data.classes,
            mean=data.mean,
            std=data.std,
            provenance=self._provenance(trial, kept),
        )
        target = self.path / EXPORT_NAME if out is None else Path(out)
        judged = trainer.final().data if kept is not None and kept.final else data
        return export_network(trained, target, validation_of(judged), announce, formats, force)

    def optuna_study(self, storage: str | None = None, name: str | None = None) -> OptunaStudy:
        """The run as an ordinary Optuna study: its trials with their choices as parameters, the objectives as values,
        the budgets as constraints, so that Optuna's `best_trials` are the front.

        Args:
            storage: an address of Optuna's such as sqlite:///studies.db; in memory without one.
            name: of the study; the run's folder's where none is given.

        Raises StudyError where the storage cannot be opened, or has a study of that name.
        """
        from nas.proposing.exported import exported_study
        from nas.trainings.recorded import recorded_space

        space = recorded_space(self.view, self.config)
        return exported_study(self.view, space, storage, name or self.path.resolve().name)

    def _provenance(self, trial: TrialView, kept: Training | None) -> dict[str, Any]:
        """What arch.json says of where the network comes from. Its figures are of its own training, of a finalist on
        the test split, beside them what it was `selected_by` (the trial's first look) and the run's verdict."""
        r = trial.result
        selected = {"score": r.score, "loss": r.loss, "correct": r.correct, "images": r.images, "seed": r.seed}
        verdict, estimated = verdict_of(self.view), verdict_by_estimates(self.view)
        of_another: dict[str, Any] = {}
        if kept is not None:
            figures = {name: getattr(kept, name) for name in ("score", "loss", "seed", "epochs", "seconds")}
            of_another = {**figures, "figures": dict(kept.figures), "selected_by": selected}
        trained, final = kept or r, kept is not None and kept.final
        return {
            "run": self.path.name,
            **trial.to_json(),
            **of_another,
            self.view.metric: trained.score,
            "correct": trained.correct,
            "images": trained.images,
            "trained_on": ["train", "val"] if final else ["train"],
            "judged_on": "test" if final else "val",
            "verdict": None if verdict is None else verdict.to_json(),
            "estimated": None if estimated is None else estimated.text,
            "data": dict(self.view.description["data"]),
            "split": split_of(self.config),
            "training": self.view.config["training"],
            "environment": dict(trained.environment),
        }


def split_of(config: SearchConfig) -> dict[str, Any]:
    """The settings by which a search cuts its images into splits: others' validation images would be its training's."""
    return {
        "val_fraction": config.val_fraction,
        "test_fraction": config.kept_for_test,
        "data_errors": config.data_errors,
        "image_size": config.image_size,
        "train_images": config.train_images,
    }


def _numbers(trials: Sequence[TrialView]) -> str:
    return "one of trials " + ", ".join(str(t.result.number) for t in trials) if trials else "another run"
