"""From what is asked of a sweep, such as ``none,mimic,fine-grained[variant=I,G]``, to benchmarks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kdbench.benchmarks import Benchmark, load, looked_up, seed_range
from kdbench.combined import PLUS
from kdbench.errors import ArgumentError, UserError, explain
from kdbench.plugins import registry
from kdbench.selectors import SELECTOR, methods_in, split

BRACKETED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|[\[{].*[\]}]", re.DOTALL)


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
        methods: Selectors, or their list in one string, see :func:`methods_of`.
        datasets: Names, or one string with commas between them.
        pairs: Likewise; a dataset without one here has its first.
        seeds: Numbers, or one string, ``0..2`` or ``0,1,2``; None: 0.
        schedule: ``default`` or ``smoke``; None: what the files say.

    Raises:
        UserError: If these do not fit together, or anything is unknown, in one line.
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
    """Return the pairs of each dataset: those that are named, or its first."""
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
    """Return the benchmark on another schedule, without its paper, which is compared with the default one only."""
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


def methods_of(text: str) -> list[str]:
    """Return the selectors that a list stands for, in its order.

    Methods are separated by commas. In a method's brackets a comma separates options, and what has no ``=``
    is one more value of the option before it: ``m[a=1,2,b=3]`` stands for ``m[a=1,b=3]`` and ``m[a=2,b=3]``.
    A value that is a list itself stays in its own brackets: ``m[stages=[2,3]]``. Methods of a sum are separated by
    ``+``.

    Raises:
        UserError: For an empty item, a value without its option, or unbalanced brackets or quotes.
    """
    return [selector for item in split(text, text) for selector in _expanded(item.strip(), text)]


def _expanded(item: str, text: str) -> Iterator[str]:
    """Yield the selectors that an item stands for; of a sum, every choice of one part with every one of another."""
    return map(PLUS.join, product(*(list(_alternatives(part.strip(), text)) for part in methods_in(item))))


def _alternatives(item: str, text: str) -> Iterator[str]:
    match = SELECTOR.fullmatch(item)
    if match is None:
        raise UserError(f"'{item}' in '{text}' is not a method: write name or name[option=value,value,...].")
    name, inside = match.groups()
    if not (inside or "").strip():
        yield name
        return
    choices = _choices(inside, item)
    for values in product(*choices.values()):
        chosen = ",".join(f"{option}={value}" for option, value in zip(choices, values, strict=True))
        yield f"{name}[{chosen}]"


def _choices(inside: str, item: str) -> dict[str, list[str]]:
    """Return the values of each option, as written."""
    choices: dict[str, list[str]] = {}
    last: list[str] | None = None
    for part in split(inside, item):
        option, value = _assigned(part.strip())
        if option:
            if option in choices:
                raise UserError(f"option '{option}' is given twice in '{item}'.")
            last = choices[option] = []
        if last is None or not value:
            raise UserError(f"'{part.strip()}' in '{item}' is neither option=value nor one more value.")
        last.append(value)
    return choices


def _assigned(part: str) -> tuple[str, str]:
    """Return option and value; the option is empty if no ``=`` is outside of brackets and quotes."""
    if "=" not in BRACKETED.sub("", part):
        return "", part
    option, _, value = part.partition("=")
    return option.strip(), value.strip()
