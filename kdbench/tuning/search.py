"""Searches a method's options on validation images: trial after trial, each a run that resumes."""

from __future__ import annotations

import sys
import time
from contextlib import redirect_stdout
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from kdbench.cards import Options
from kdbench.dataset_cards import Dataset
from kdbench.datasets.fingerprint import fingerprint
from kdbench.datasets.holdout import described, for_tuning
from kdbench.errors import ArgumentError, GateError, RunError, UserError
from kdbench.plugins import make_method, registry
from kdbench.runs.cells import subject_of
from kdbench.runs.claims import Claims
from kdbench.runs.launch import start
from kdbench.runs.made import is_made, teachers_to_train
from kdbench.runs.plan import Plan, Planner, staged_teacher, stored, taught_by
from kdbench.runs.progress import LineConsole
from kdbench.runs.provenance import versions
from kdbench.runs.request import Request
from kdbench.runs.run import claimed, to_run
from kdbench.runs.session import Session
from kdbench.runs.settings import TUNING, RunSettings
from kdbench.selectors import canonical, parse
from kdbench.tuning import study as studies
from kdbench.tuning.sampler import propose, require_optuna
from kdbench.tuning.space import space_of, tried
from kdbench.tuning.study import Study, StudySpec, Trial


def tune(request: Request, settings: RunSettings, console: LineConsole, *, trials: int) -> Study:
    """Search a method's options; what the libraries print goes to standard error.

    Args:
        request: The method, with the options that are fixed, and what to train it on.
        settings: Runtime settings.
        console: Receives progress messages.
        trials: Sets of options to try, at least 1; those of an earlier call count.

    Raises:
        ArgumentError: If ``trials`` is too small.
        RunError: If the teacher or the plain student cannot be trained.
        UserError: If Optuna is missing, there is nothing to search, or another process runs this study.
        KeyboardInterrupt: On Ctrl-C, after a checkpoint to continue from.
    """
    if trials < 1:
        raise ArgumentError("trials", "at least 1 is needed.", trials)
    require_optuna()
    tuning = Tuning(request, settings, console)
    start(request.device, tuning.asked.dataset)
    with redirect_stdout(sys.stderr):
        return tuning.run(trials)


class Tuning:
    """A study while it runs.

    Args:
        request: The method, with the options that are fixed, and what to train it on.
        settings: Runtime settings. The study goes to ``tuning`` in the results folder, the records of its trials to
            ``tuning`` in the work directory.
        console: Receives progress messages.

    Raises:
        UserError: If the request cannot be planned, or its method has nothing to tune.
    """

    def __init__(self, request: Request, settings: RunSettings, console: LineConsole) -> None:
        self.request, self.results, self.console = request, settings.results, console
        self.settings = settings.model_copy(update={"results": settings.work_dir / TUNING})
        self.planner = Planner()
        self.asked = self.planner.plan(request)
        """What was asked for, on the dataset itself; it is never run."""
        if self.asked.teacher is None:
            raise UserError(f"method '{self.asked.card.name}' has no options to tune: name another.")
        self.dataset = for_tuning(self.asked.dataset)
        self.data = fingerprint(self.dataset, self.asked.folder)

    def run(self, count: int) -> Study:
        """Run the study until at least ``count`` trials have ended; those in its file are not run again."""
        made_with = {"optuna": require_optuna()}
        study = self._begun()
        identity = study.spec.identity()
        with Claims(self.results / TUNING) as claims:
            if not claims.take(identity):
                raise UserError("another process runs this study: wait for it, or ask for another seed.")
            study = studies.continued(self.results, study)
            self.console.say(f"study {studies.study_path(self.results, study)}, judged on {study.validation}")
            if study.missing(count):
                made = {"versions": versions() | made_with, "device": self.request.device}
                study = study.model_copy(update=made | self._prepared())
            for number in study.missing(count):
                study = self._tried(study, number)
            claims.release(identity, done=True)
        return study

    def plan(self, selector: str) -> Plan:
        """Return the plan of a trial."""
        plan = self.planner.plan(replace(self.request, method=selector))
        return on_tuning_split(plan, self.dataset, self.data)

    def _begun(self) -> Study:
        """Return the study before its first trial. Raises UserError if the method cannot be trained or searched."""
        from kdbench.openmmlab.checks.preflight import check_family
        from kdbench.openmmlab.models.configs import family_of
        from kdbench.runs.refusals import check_method

        asked = self.asked
        student = subject_of(asked.cell, asked, self.settings)
        check_method(asked, student)
        family = family_of(student.config())

        def usable(options: Options) -> bool:
            try:
                check_family(make_method(asked.card, options), family)
            except UserError:
                return False
            return True

        plan = self.plan(self.request.method)
        space, left = space_of(plan.options, frozenset(parse(self.request.method)[1]), usable)
        if not space:
            why = "; ".join(f"{name}: {reason}" for name, reason in left.items())
            raise UserError(f"'{self.request.method}' leaves nothing to search ({why}).")
        return Study(
            spec=StudySpec(start=stored(plan.cell), space=space),
            selector=plan.cell.selector,
            dataset=asked.dataset.name,
            validation=described(asked.dataset),
            metric=plan.dataset.metric,
            higher_is_better=registry().metric(plan.dataset.metric).higher_is_better,
            left=left,
        )

    def _prepared(self) -> dict[str, Any]:
        """Train what all trials share, and return its scores on the validation images."""
        plan = self.plan(self.request.method)
        shared = replace(plan, staged=None)
        alone = replace(shared, cell=plan.plain, teacher=None, others=())
        teachers = teachers_to_train(plan, lambda spec: is_made(self.settings, spec))
        with claimed(to_run(plan, self.settings) | teachers, self.settings, self.console.say):
            session = Session(shared, self.settings, self.console)
            session.introduce()
            measured = session.teaching().measured[0]
            plain = Session(alone, self.settings, self.console).run()
        return {"plain": plain.score, "teacher": measured.value}

    def _tried(self, study: Study, number: int) -> Study:
        """Run a trial and return the study with it, written before and after."""
        trial = study.trials[number] if number < len(study.trials) else self._next(study)
        studies.write(self.results, study.with_trial(trial))
        self.console.say(f"trial {number}: {trial.selector}")
        begun = time.monotonic()
        ended = self._ended(trial)
        ended = ended.model_copy(update={"seconds": round(time.monotonic() - begun, 3)})
        study = study.with_trial(ended)
        studies.write(self.results, study)
        shown = f"failed: {ended.reason}" if ended.value is None else f"{study.metric} {ended.value:.3f}"
        self.console.say(f"trial {number}: {shown}")
        return study

    def _next(self, study: Study) -> Trial:
        """Return the next trial: first the selector's own options, then what the sampler proposes."""
        start, space, number = self.plan(study.selector), study.spec.space, len(study.trials)
        chosen = {name: getattr(start.options, name) for name in space}
        if number:
            chosen = propose(space, study.trials, start.cell.seed, maximize=study.higher_is_better)
        try:
            options = tried(start.options, chosen)
        except ValidationError as error:
            why = error.errors()[0]["msg"]
            raise UserError(f"{start.card.name}: options {chosen} do not go together: {why}.") from error
        cell = self.plan(canonical(start.card, options)).cell
        return Trial(
            number=number, chosen=chosen, selector=cell.selector, options=cell.options, run=cell.identity()
        )

    def _ended(self, trial: Trial) -> Trial:
        """Run a trial and return it; a failure that is due to its options becomes the trial's."""
        from kdbench.openmmlab.data.sampling import DataError

        plan = self.plan(trial.selector)
        if plan.cell.identity() != trial.run:
            raise UserError("the data, the pair or the plugin changed while the study ran: start it again.")
        try:
            with claimed(to_run(plan, self.settings), self.settings, self.console.say):
                record = Session(plan, self.settings, self.console).run()
        except (RunError, UserError) as failed:
            own = trial.number > 0 or isinstance(failed, RunError | GateError)
            if isinstance(failed, DataError) or not own:
                raise
            return trial.model_copy(update={"status": "failed", "reason": str(failed)})
        assert record.metrics is not None, "a done record has metrics"
        done = {"status": "done", "value": record.score, "metrics": record.metrics.last}
        return trial.model_copy(update=done)


def on_tuning_split(plan: Plan, dataset: Dataset, data: str) -> Plan:
    """Return the plan with all its trainings, its teachers' too, on the tuning split of its dataset.

    Args:
        plan: A method's plan, without given checkpoints.
        dataset: The tuning split, see :func:`kdbench.datasets.holdout.for_tuning`.
        data: Fingerprint of its content.
    """
    assert plan.teacher is not None, "a plain student has nothing to tune"
    assert not plan.checkpoints, "a given teacher may have learned the validation images"
    moved = {"dataset": dataset.name, "data": data}
    first, *others = (spec.model_copy(update=moved) for spec in (plan.teacher, *plan.others))
    staged = staged_teacher(first, plan.card, plan.options)
    teacher = taught_by([staged] if staged else [first, *others])
    ancestor = first if plan.ancestor else None
    pair = plan.cell.pair.model_copy(update={"inherits": ancestor and ancestor.identity()})
    students = moved | {"pair": pair}
    return replace(
        plan,
        dataset=dataset,
        teacher=first,
        others=tuple(others),
        ancestor=ancestor,
        staged=staged,
        plain=plan.plain.model_copy(update=students),
        cell=plan.cell.model_copy(update=students | {"teacher": teacher}),
    )
