"""Searches a method's options on validation images: trial after trial, each a run that resumes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kdbench.cards import Options
from kdbench.errors import GateError, RunError, UserError
from kdbench.plugins import make_method
from kdbench.runs.cells import subject_of, title
from kdbench.runs.claimed import to_run
from kdbench.runs.claims import Claims
from kdbench.runs.plan import Plan
from kdbench.runs.provenance import versions
from kdbench.runs.session import Session
from kdbench.runs.settings import TUNING, RunSettings
from kdbench.runs.sweep_records import is_there, needs_of, specs_of
from kdbench.runs.training import Console
from kdbench.selectors import canonical
from kdbench.tuning import study as studies
from kdbench.tuning.ground import Ground
from kdbench.tuning.sampler import choose, require_optuna
from kdbench.tuning.space import tried
from kdbench.tuning.study import Study, Trial

LOOK_EVERY = 2.0
"""Seconds between two looks at what another process trains."""


class Tuning:
    """A study on its way to its trials.

    Args:
        ground: What its trials share.
        settings: Runtime settings; ``results`` is a folder of its own, for the records of trials.
        results: Where studies go.
        console: Receives progress messages.
    """

    def __init__(self, ground: Ground, settings: RunSettings, results: Path, console: Console) -> None:
        self.ground, self.settings, self.results, self.console = ground, settings, results, console

    def run(self, count: int) -> Study:
        """Run the study until at least ``count`` trials have ended; those in its file are not run again.

        Raises:
            RunError: If a teacher or the plain student cannot be trained.
            UserError: If Optuna is missing, the teacher is at chance, or another process runs this study.
            KeyboardInterrupt: On Ctrl-C, with a checkpoint to go on from.
        """
        made_with = {"optuna": require_optuna()}
        study = self._begun()
        identity = study.spec.identity()
        with Claims(self.results / TUNING) as claims:
            if not claims.take(identity):
                raise UserError("another process runs this study: wait for it, or ask for another seed.")
            study = studies.continued(self.results, study)
            self.console.say(f"study {studies.path_of(self.results, study)}, judged on {study.validation}")
            if study.missing(count):
                made = {"versions": versions() | made_with, "device": self.ground.request.device}
                study = study.model_copy(update=made | self._prepared())
            for number in study.missing(count):
                study = self._tried(study, number)
            claims.release(identity, done=True)
        return study

    def _begun(self) -> Study:
        """Return the study before its first trial; refuse at once what cannot work."""
        from kdbench.openmmlab.checks.preflight import check_family
        from kdbench.openmmlab.models.configs import family_of
        from kdbench.runs.refusals import check_method

        asked = self.ground.asked
        student = subject_of(asked.cell, asked, self.settings)
        check_method(asked, student)
        family = family_of(student.config())

        def usable(options: Options) -> bool:
            try:
                check_family(make_method(asked.card, options), family)
            except UserError:
                return False
            return True

        return self.ground.study(usable)

    def _prepared(self) -> dict[str, Any]:
        """Train what all trials share, and return what it reaches on the validation images."""
        plan = self.ground.plan(self.ground.request.method)
        shared = replace(plan, staged=None)
        alone = replace(shared, cell=plan.plain, teacher=None, others=())
        with self._claimed(plan):
            session = Session(shared, self.settings, self.console)
            session.introduce()
            measured = session.teaching().measured[0]
            plain = Session(alone, self.settings, self.console).run()
        return {"plain": plain.score, "teacher": measured.value}

    def _tried(self, study: Study, number: int) -> Study:
        """Run a trial and return the study with it, written before and after."""
        trial = study.trials[number] if number < len(study.trials) else self._next(study)
        study = study.with_trial(trial)
        studies.write(self.results, study)
        self.console.say(f"trial {number}: {trial.selector}")
        begun = time.monotonic()
        ended = self._ended(trial)
        ended = ended.model_copy(update={"seconds": round(time.monotonic() - begun, 3)})
        study = study.with_trial(ended)
        studies.write(self.results, study)
        told = f"failed: {ended.reason}" if ended.value is None else f"{study.metric} {ended.value:.3f}"
        self.console.say(f"trial {number}: {told}")
        return study

    def _next(self, study: Study) -> Trial:
        """Return the next trial: first the selector's own options, then what the sampler proposes."""
        start, space, number = self.ground.plan(study.selector), study.spec.space, len(study.trials)
        chosen = {name: getattr(start.options, name) for name in space}
        if number:
            chosen = choose(space, study.trials, start.cell.seed, maximize=study.higher_is_better)
        try:
            options = tried(start.options, chosen)
        except ValidationError as error:
            why = error.errors()[0]["msg"]
            raise UserError(f"{start.card.name}: options {chosen} do not go together: {why}.") from error
        cell = self.ground.plan(canonical(start.card, options)).cell
        return Trial(
            number=number, chosen=chosen, selector=cell.selector, options=cell.options, run=cell.identity()
        )

    def _ended(self, trial: Trial) -> Trial:
        """Run a trial and return it; what fails because of its options is its failure."""
        from kdbench.openmmlab.data.sampling import DataError

        plan = self.ground.plan(trial.selector)
        if plan.cell.identity() != trial.run:
            raise UserError("the data, the pair or the plugin changed while the study ran: start it again.")
        try:
            with self._claimed(plan):
                record = Session(plan, self.settings, self.console).run()
        except (RunError, UserError) as failed:
            own = trial.number > 0 or isinstance(failed, RunError | GateError)
            if isinstance(failed, DataError) or not own:
                raise
            return trial.model_copy(update={"status": "failed", "reason": str(failed)})
        assert record.metrics is not None, "a done record has metrics"
        done = {"status": "done", "value": record.score, "metrics": record.metrics.last}
        return trial.model_copy(update=done)

    @contextmanager
    def _claimed(self, plan: Plan) -> Iterator[None]:
        """Hold the claims on all that a plan trains; wait where another study trains some of it."""
        with Claims(self.settings.store.root) as claims:
            teachers = needs_of(plan, lambda spec: is_there(self.settings, spec))
            specs = specs_of(plan)
            for identity in sorted({*to_run(plan, self.settings), *teachers, plan.cell.identity()}):
                if not claims.take(identity):
                    self.console.say(f"{title(specs[identity])}: another process trains it, waiting")
                while not claims.take(identity):
                    time.sleep(LOOK_EVERY)
            try:
                yield
            finally:
                for identity in list(claims.held):
                    claims.release(identity, done=is_there(self.settings, specs[identity]))
