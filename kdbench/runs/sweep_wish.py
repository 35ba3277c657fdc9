"""From what is asked of a sweep to benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kdbench.benchmarks import Benchmark, load, looked_up, seed_range
from kdbench.errors import ArgumentError, UserError, explain
from kdbench.plugins import registry
from kdbench.runs.sweep_methods import methods_of


def benchmarks_of(
    files: Sequence[Path],
    *,
    methods: str | Sequence[str] | None,
    datasets: str | Sequence[str] | None,
    pairs: str | Sequence[str] | None,
    seeds: str | Sequence[int] | None,
    schedule: str | None,
) -> list[Benchmark]:
    """Return the benchmarks of files, or the one that methods, datasets, pairs and seeds describe.

    Args:
        files: Benchmark files; none where methods and datasets are given.
        methods: Selectors, or their list in one string, see :func:`kdbench.runs.sweep_methods.methods_of`.
        datasets: Names, or one string with commas between them.
        pairs: The same; of a dataset without one here its first.
        seeds: Numbers, or one string, ``0..2`` or ``0,1,2``; None: 0.
        schedule: ``default`` or ``smoke``; None: what the files say.

    Raises:
        UserError: Where these do not fit together, or anything is unknown, in one line.
    """
    given = {"methods": methods, "datasets": datasets, "pairs": pairs, "seeds": seeds}
    if files:
        if named := [name for name, value in given.items() if value is not None]:
            raise ArgumentError(named, "the benchmark files say that: leave one of the two out.")
        return [_scheduled(load(file), schedule) for file in files]
    if methods is None or datasets is None:
        raise UserError("nothing to sweep: give benchmark files, or methods and datasets.")
    selectors = methods_of(methods) if isinstance(methods, str) else methods
    numbers = seeds_of("0" if seeds is None else seeds)
    return [
        _benchmark(dataset, of_dataset, selectors, numbers, schedule or "default")
        for dataset, of_dataset in _pairs_of(_names("datasets", datasets), pairs).items()
    ]


def seeds_of(seeds: str | Sequence[int]) -> Sequence[int]:
    """Return seeds as given, or those of a range or of numbers separated by commas.

    Raises:
        ArgumentError: For any other string.
    """
    if not isinstance(seeds, str):
        return seeds
    if ".." not in seeds:
        numbers = _names("seeds", seeds)
        if not all(number.isdecimal() for number in numbers):
            raise ArgumentError("seeds", "write 0..2 or 0,1,2.", seeds)
        return tuple(map(int, numbers))
    try:
        return tuple(seed_range(seeds))
    except ValueError as error:
        raise ArgumentError("seeds", f"{error}.", seeds) from error


def _pairs_of(datasets: Sequence[str], pairs: str | Sequence[str] | None) -> dict[str, list[str]]:
    """Dataset -> its pairs, those that are named or its first."""
    found: dict[str, list[str]] = {registry().dataset(name).value.name: [] for name in datasets}
    for name in _names("pairs", pairs) if pairs is not None else []:
        pair = registry().pair(name).value
        if pair.dataset not in found:
            raise ArgumentError("pairs", f"it is for dataset '{pair.dataset}', which is not swept.", name)
        found[pair.dataset].append(pair.name)
    for dataset, named in found.items():
        first = registry().pairs_of(dataset)[:1]
        if not named and not first:
            raise UserError(f"dataset '{dataset}' has no pair: a plugin must give one.")
        named += [] if named else [first[0].name]
    return found


def _benchmark(
    dataset: str, pairs: Sequence[str], methods: Sequence[str], seeds: Sequence[int], schedule: str
) -> Benchmark:
    values: dict[str, Any] = {
        "title": dataset,
        "dataset": dataset,
        "pairs": pairs,
        "methods": methods,
        "seeds": seeds,
        "schedule": schedule,
    }
    try:
        return looked_up(Benchmark.model_validate(values), f"sweep of {dataset}")
    except ValidationError as error:
        raise UserError(f"sweep of {dataset}: {explain(error)}.") from error


def _scheduled(benchmark: Benchmark, schedule: str | None) -> Benchmark:
    """Return the benchmark on another schedule; without its paper, which only the default one is compared with."""
    if schedule is None or schedule == benchmark.schedule:
        return benchmark
    entries = [entry.model_copy(update={"reported": None}) for entry in benchmark.methods]
    return benchmark.model_copy(update={"schedule": schedule, "paper": None, "methods": tuple(entries)})


def _names(argument: str, given: str | Sequence[str]) -> list[str]:
    names = [name.strip() for name in (given.split(",") if isinstance(given, str) else given)]
    if not all(names):
        raise ArgumentError(argument, "an item is empty.", given)
    if repeated := [name for name in names if names.count(name) > 1]:
        raise ArgumentError(argument, f"'{repeated[0]}' stands there more than once.")
    return names
