"""The tuning study that chose a cell's options: looked up when the record is written, which then has its trials."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from kdbench.errors import explain
from kdbench.files import read_regular, slug
from kdbench.results.record import Trial, Tuned
from kdbench.specs import RunSpec, digest

log = logging.getLogger(__name__)
GROUND = ("method", "revision", "pair", "schedule", "precision", "device", "processes")
"""Keys of a spec that a study shares with the cells for which it chose options."""


class _Trial(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)
    options: dict[str, Any]
    status: str
    value: float | None = None


class _Study(BaseModel):
    """The part of a file of :mod:`kdbench.tuning.study` that matters here."""

    model_config = ConfigDict(extra="ignore")
    spec: dict[str, Any]
    validation: str
    higher_is_better: bool = True
    trials: Sequence[_Trial]

    def chose(self, options: Mapping[str, Any], spec: Mapping[str, Any]) -> Tuned | None:
        """Return what a record says about the study if it chose a cell's options; else None."""
        start = self.spec["start"]
        if any(start.get(key) != spec.get(key) for key in GROUND):
            return None
        trials = [
            Trial(options=one.options, value=one.value) for one in self.trials if one.status != "running"
        ]
        found = Tuned(study=digest(self.spec), validation=self.validation, trials=trials)
        return found if is_best(options, found, 1 if self.higher_is_better else -1) else None


def is_best(options: Mapping[str, Any], tuned: Tuned, sign: int) -> bool:
    """Whether options are those of a study's best trial, the first of equal ones.

    Args:
        options: All options of a method.
        tuned: The study.
        sign: 1 if more of its metric is better, -1 if less is.
    """
    done = [trial for trial in tuned.trials if trial.value is not None]
    best = max(done, key=lambda trial: sign * (trial.value or 0.0), default=None)
    return best is not None and best.options == options


def chosen_by(studies: Path, spec: RunSpec) -> Tuned | None:
    """Return the study that chose a cell's options, the one with most trials of several; None without one.

    Args:
        studies: Folder of the studies.
        spec: Spec of the cell.
    """
    values = json.loads(spec.model_dump_json())
    files = sorted((studies / slug(spec.dataset) / slug(spec.pair.name)).glob("*.json"))
    found = [study.chose(spec.options, values) for study in map(_read, files) if study is not None]
    return max(filter(None, found), key=lambda one: len(one.trials), default=None)


def _read(path: Path) -> _Study | None:
    try:
        return _Study.model_validate_json(read_regular(path))
    except (OSError, ValidationError) as error:
        why = explain(error) if isinstance(error, ValidationError) else error.strerror
        log.warning("study %s cannot be read (%s): no record will name it", path, why)
        return None
