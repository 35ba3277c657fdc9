"""A tuning study: one JSON file with every trial, apart from the records that are ranked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from kdbench.errors import UserError
from kdbench.files import read_regular, slug, write_atomically
from kdbench.runs.settings import TUNING
from kdbench.specs import RunSpec, Spec
from kdbench.tuning.space import Space


class StudySpec(Spec):
    """All that a study's trials depend on, but for their number."""

    start: dict[str, Any]
    """Spec of the first trial's run: the method as the selector gives it, on the tuning split."""
    space: Space
    """The options that are searched."""
    sampler: Literal["TPE"] = "TPE"


class Trial(Spec):
    """One set of options, and what it gave on the validation images."""

    number: int
    """From 0, which has the selector's own options."""
    chosen: dict[str, Any]
    """What the sampler chose."""
    selector: str
    """The method with those options, less those without effect."""
    options: dict[str, Any]
    """All options."""
    run: str
    """Identity of the run."""
    status: Literal["running", "done", "failed"] = "running"
    value: float | None = None
    """The dataset's metric after the last iteration, in [0, 1]."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """All metrics then."""
    seconds: float | None = None
    """Wall time since the trial was last started, s; a stage of the teacher that it asks for is part of it."""
    reason: str | None = None
    """Why it failed."""


class Study(Spec):
    """Content of a study's file."""

    schema_version: Literal[1] = 1
    spec: StudySpec
    """Its hash is the study's identity."""
    selector: str
    """The method as it was asked for."""
    dataset: str
    """The dataset that is tuned for; the trials use its tuning split."""
    validation: str
    """The validation images, in words."""
    metric: str
    """The metric that is optimised."""
    higher_is_better: bool = True
    """Whether it is maximised."""
    left: dict[str, str]
    """Option -> why it is not searched."""
    teacher: float | None = None
    """Metric of the study's teacher on the validation images."""
    plain: float | None = None
    """Metric of the plain student there."""
    trials: tuple[Trial, ...] = ()
    versions: dict[str, str] = Field(default_factory=dict)
    """Versions that the last trial was made with."""
    device: str = "cpu"

    @property
    def start(self) -> RunSpec:
        """Spec of the first trial's run."""
        return RunSpec.model_validate(self.spec.start)

    def best(self, count: int | None = None) -> Trial | None:
        """Return the best of the first ``count`` trials or of all, the first of equals; None where none is done."""
        done = [trial for trial in self.trials[:count] if trial.value is not None]
        sign = 1 if self.higher_is_better else -1
        return max(done, key=lambda trial: sign * (trial.value or 0.0), default=None)

    def missing(self, count: int) -> list[int]:
        """Return the numbers of those of the first ``count`` trials that have not ended."""
        ended = {trial.number for trial in self.trials if trial.status != "running"}
        return [number for number in range(count) if number not in ended]

    def with_trial(self, trial: Trial) -> Study:
        """Return the study with a trial added, or replaced if it has one of that number."""
        trials = [*self.trials[: trial.number], trial, *self.trials[trial.number + 1 :]]
        return self.model_copy(update={"trials": tuple(trials)})


def study_path(results: Path, study: Study) -> Path:
    """Return a study's file: ``tuning/<dataset>/<pair>/<selector>-seed<k>-<identity>.json``."""
    start = study.start
    name = f"{slug(study.selector)}-seed{start.seed}-{study.spec.identity()[:12]}.json"
    return results / TUNING / slug(study.dataset) / slug(start.pair.name) / name


def continued(results: Path, study: Study) -> Study:
    """Return the study as its file has it; unchanged where there is none.

    Raises:
        UserError: If the file cannot be read or is no such study.
    """
    path = study_path(results, study)
    try:
        found = Study.model_validate_json(read_regular(path))
    except FileNotFoundError:
        return study
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from error
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise UserError(
            f"{path} is not a study ({where}: {error.errors()[0]['msg']}): move it away."
        ) from error
    if found.spec != study.spec:
        raise UserError(f"{path} is another study than its name says: move it away.")
    if [trial.number for trial in found.trials] != list(range(len(found.trials))):
        raise UserError(f"{path} lacks trials: move it away.")
    return found


def write(results: Path, study: Study) -> Path:
    """Write a study's file in one step. Raises UserError where it cannot be written."""
    path = study_path(results, study)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, study.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}. Choose another results folder."
        ) from error
    return path
