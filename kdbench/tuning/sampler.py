"""Chooses the options of a trial with Optuna."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kdbench.errors import UserError
from kdbench.specs import digest
from kdbench.tuning.space import Range, Space
from kdbench.tuning.study import Trial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

MISSING = "`kdbench tune` needs Optuna: install it with `pip install 'kdbench[tune]'`."


def require_optuna() -> str:
    """Return Optuna's version. Raises UserError if it is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise UserError(MISSING) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return str(optuna.__version__)


def propose(space: Space, earlier: Sequence[Trial], seed: int, *, maximize: bool = True) -> dict[str, Any]:
    """Return what the tree-structured Parzen estimator (TPE) proposes after the trials so far.

    It depends on the space, the trials and the seed only, so that an interrupted study continues exactly as it
    would have. A failed trial counts as worse than every other.

    Args:
        space: What is searched.
        earlier: The trials before this one, all of them ended.
        seed: Seed of the study.
        maximize: Whether more of the trials' value is better.

    Returns:
        Name -> value, with three significant digits.
    """
    import optuna

    sampler = optuna.samplers.TPESampler(seed=int(digest(["tune", seed, len(earlier)])[:8], 16))
    study = optuna.create_study(direction="maximize" if maximize else "minimize", sampler=sampler)
    dimensions = distributions(space)
    study.add_trials([_frozen(trial, dimensions) for trial in earlier])
    asked = study.ask(dimensions).params
    return {name: space[name].rounded(value) for name, value in asked.items()}


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return the space as Optuna's distributions."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    made: dict[str, BaseDistribution] = {}
    for name, dimension in space.items():
        if not isinstance(dimension, Range):
            made[name] = CategoricalDistribution(dimension.values)
        elif dimension.kind == "int":
            made[name] = IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
        else:
            made[name] = FloatDistribution(dimension.low, dimension.high, log=dimension.log)
    return made


def _frozen(trial: Trial, dimensions: dict[str, BaseDistribution]) -> FrozenTrial:
    """Return an ended trial for Optuna; one that failed counts as pruned: the worst there is."""
    from optuna.trial import TrialState, create_trial

    known = {name: dimensions[name] for name in trial.chosen}
    if trial.value is None:
        return create_trial(state=TrialState.PRUNED, params=trial.chosen, distributions=known)
    return create_trial(value=trial.value, params=trial.chosen, distributions=known)
