"""Simulate verdicts: the probability of any false verdict in a ranking, and the power, for Dunnett and for Holm.

python benchmarks/verdicts.py [RANKINGS]

Every simulated ranking has a plain student and methods with the same seeds. Seeds have an effect as large as the
noise. Methods have no effect, except for the power: there one method is three deviations better.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from scipy.stats import ttest_rel

from kdbench.results.model import RankingModel
from kdbench.results.statistics import ALPHA
from kdbench.specs import PLAIN

Ranking = dict[str, dict[int, float]]
Verdicts = Callable[[Ranking], set[str]]
GAIN = 3.0
"""Gain of one method in the simulation of power, in standard deviations of the noise."""


def drawn(
    random: np.random.Generator, methods: int, seeds: int, scatter: float = 1, gain: float = 0
) -> Ranking:
    """Draw a ranking in which the first method has its own deviation and gain.

    Args:
        random: Source of the noise.
        methods: Number of methods, without the plain student.
        seeds: Number of seeds of each row.
        scatter: Standard deviation of the first method's noise; that of the others is 1.
        gain: True gain of the first method.
    """
    noise = random.normal(size=(methods + 1, seeds))
    noise[1] *= scatter
    scores = noise + random.normal(size=seeds)
    scores[1] += gain
    labels = [PLAIN, *(f"m{place}" for place in range(methods))]
    return {label: dict(enumerate(row.tolist())) for label, row in zip(labels, scores, strict=True)}


def by_model(ranking: Ranking) -> set[str]:
    """Return the methods with a verdict from the pooled model."""
    methods = {label: scores for label, scores in ranking.items() if label != PLAIN}
    found = RankingModel(ranking[PLAIN], methods).estimates
    return {label for label, one in found.items() if one.low > 0 or one.high < 0}


def by_holm(ranking: Ranking) -> set[str]:
    """Return the methods with a verdict from separate t tests of each row, with Holm's correction."""
    plain = list(ranking[PLAIN].values())
    rows = {label: list(scores.values()) for label, scores in ranking.items() if label != PLAIN}
    values = {label: float(ttest_rel(scores, plain).pvalue) for label, scores in rows.items()}
    found: set[str] = set()
    for place, label in enumerate(sorted(values, key=lambda label: values[label])):
        if values[label] * (len(values) - place) >= ALPHA:
            break
        found.add(label)
    return found


def share(verdicts: Verdicts, wanted: str | None, count: int, setting: tuple[int, int], **more: Any) -> float:
    """Return the share of rankings in which any method, or the wanted one, has a verdict."""
    random = np.random.default_rng(0)
    found = (verdicts(drawn(random, *setting, **more)) for _ in range(count))
    return sum(bool(labels) if wanted is None else wanted in labels for labels in found) / count


def main() -> None:
    """Simulate and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print(f"{count} rankings each\nmethods seeds  false: equal  one 5x  power: Dunnett  Holm")
    for methods, seeds in product((5, 20), (3, 5)):
        equal = share(by_model, None, count, (methods, seeds))
        wild = share(by_model, None, count, (methods, seeds), scatter=5)
        power = [share(one, "m0", count, (methods, seeds), gain=GAIN) for one in (by_model, by_holm)]
        print(
            f"{methods:7} {seeds:5}  {equal:12.1%}  {wild:6.1%}  {power[0]:14.1%}  {power[1]:4.1%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
