"""Benchmark files: a dataset, its pairs, the methods and seeds to run, and the paper to compare with.

The dataset and the pairs are names, or are defined in the file itself (:mod:`kdbench.inline`).
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from pydantic import BeforeValidator, Field, PrivateAttr, ValidationError, model_validator

from kdbench.changes import change
from kdbench.errors import UserError, explain
from kdbench.inline import Inline
from kdbench.plugins import registry
from kdbench.selectors import canonical, method_of, parse, resolve
from kdbench.specs import PLAIN, Spec

RANGE = re.compile(r"\s*([0-9]{1,9})\s*\.\.\s*([0-9]{1,9})\s*")
MOST_SEEDS = 1000


def seed_range(value: Any) -> Any:
    """Return ``0..2`` as (0, 1, 2), and other types unchanged. Raises ValueError for a string that is no range."""
    if not isinstance(value, str):
        return value
    match = RANGE.fullmatch(value)
    if match is None:
        raise ValueError(f"{value!r} is not a range of seeds: write 0..2 or [0, 1, 2]")
    first, last = int(match[1]), int(match[2])
    if not first <= last < first + MOST_SEEDS:
        raise ValueError(f"'{value}' must run upwards, over at most {MOST_SEEDS} seeds")
    return tuple(range(first, last + 1))


def _entry(value: Any) -> Any:
    """Turn a bare selector into a method with no options of its own."""
    return {"method": value} if isinstance(value, str) else value


Name = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[Name, ...], Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, strict=True)]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1, max_length=MOST_SEEDS), BeforeValidator(seed_range)]
Column = Literal["table", "dataset", "teacher", "student", "metric"]


class Entry(Spec):
    """A method of a benchmark."""

    method: Name
    """The method's selector."""
    seeds: Seeds | None = None
    """Seeds of this method; None: the benchmark's."""
    pairs: Names | None = None
    """Pairs of this method; None: all of the benchmark's."""
    reported: Name | None = None
    """``variant`` of the rows in the paper's ``reported.csv`` that this method reproduces."""


class Number(Spec):
    """A selection of one number per variant from a ``reported.csv``, for a metric where more is better."""

    where: dict[Column, str]
    """Column -> value of the rows to read; enough columns to leave one row per variant."""
    baseline: dict[Column | Literal["variant"], str]
    """Column -> value of the paper's plain student: its variant, and the columns that differ from ``where``."""

    @model_validator(mode="after")
    def _names_a_variant(self) -> Number:
        if "variant" not in self.baseline:
            raise ValueError("baseline: it needs the 'variant' of the paper's plain student")
        return self


class Paper(Spec):
    """The published numbers that an ablation is compared with."""

    method: Name
    """Method whose ``reported.csv`` has the numbers."""
    numbers: Annotated[tuple[Number, ...], Field(min_length=1)]
    """The selections; each is one comparison."""


class Cell(NamedTuple):
    """One run: a student of ``pair``, trained with ``method`` (a selector) and ``seed``."""

    pair: str
    method: str
    seed: int


class Benchmark(Spec):
    """A benchmark file.

    The plain student always runs, on every pair and seed that a method runs on; ``none`` among the methods gives
    it more seeds.
    """

    title: Name
    dataset: Name
    pairs: Names
    methods: Annotated[tuple[Annotated[Entry, BeforeValidator(_entry)], ...], Field(min_length=1)]
    seeds: Seeds
    schedule: Literal["default", "smoke"] = "default"
    set: tuple[Name, ...] = ()
    """Changes to the pairs, each ``SECTION.key=value``, like ``--set`` of a run."""
    paper: Paper | None = None
    """For an ablation: the paper's numbers."""
    _inline: Inline | None = PrivateAttr(None)

    @property
    def inline(self) -> Inline | None:
        """The dataset and the pairs that the file defines itself."""
        return self._inline

    @property
    def own_file(self) -> Path | None:
        """The benchmark file if it defines a dataset or pairs, else None."""
        return None if self._inline is None else self._inline.file

    @model_validator(mode="after")
    def _is_coherent(self) -> Benchmark:
        _no_repetition("pairs", self.pairs)
        _no_repetition("seeds", self.seeds)
        _no_repetition("methods", tuple(entry.method for entry in self.methods))
        for index, entry in enumerate(self.methods):
            where = f"methods.{index}"
            _no_repetition(f"{where}.seeds", entry.seeds or ())
            _no_repetition(f"{where}.pairs", entry.pairs or ())
            unknown = [pair for pair in entry.pairs or () if pair not in self.pairs]
            if unknown:
                raise ValueError(f"{where}.pairs: '{unknown[0]}' is not among the benchmark's pairs")
            if entry.reported is not None and self.paper is None:
                raise ValueError(f"{where}.reported: there is no 'paper' to look it up in")
        if self.paper is not None and self.kind != "default":
            raise ValueError(f"paper: results of the {self.kind} schedule are never compared")
        if self.paper is not None and not any(entry.reported for entry in self.methods):
            raise ValueError("paper: no method says with 'reported' which of its rows it repeats")
        return self

    @property
    def kind(self) -> Literal["default", "smoke", "custom"]:
        """Name of the schedule of its cells."""
        return "custom" if self.set and self.schedule == "default" else self.schedule

    def cells(self) -> list[Cell]:
        """Return all cells by pair and seed, the plain student first, so that complete rows are finished early."""
        wanted = {
            Cell(pair, method, seed)
            for entry in self.methods
            for pair in entry.pairs or self.pairs
            for seed in entry.seeds or self.seeds
            for method in (PLAIN, entry.method)
        }
        order = [PLAIN, *(entry.method for entry in self.methods)]
        places = {method: place for place, method in reversed(list(enumerate(order)))}
        return sorted(wanted, key=lambda cell: (self.pairs.index(cell.pair), cell.seed, places[cell.method]))


def load(path: Path) -> Benchmark:
    """Read a benchmark file and look up the names in it; selectors are returned in canonical form.

    Raises:
        UserError: One line with the file, the key and what is wrong with it.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read benchmark {path}: {error.strerror}.") from error
    return looked_up(parsed(text, str(path)), str(path))


def parsed(text: str | bytes, source: str) -> Benchmark:
    """Parse a YAML text as a benchmark without looking names up; ``source`` names it in errors.

    Raises:
        UserError: One line with the source, the key and what is wrong with it.
    """
    try:
        values = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{source}: not YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(values, dict):
        raise UserError(f"{source}: a benchmark is a mapping with title, dataset, pairs, methods and seeds.")
    own = _defined(values, source)
    return _with(_validated(values, source), own)


def _defined(values: dict[str, Any], source: str) -> Inline | None:
    """Return the dataset and pairs that a file defines, and replace them in ``values`` by their names."""
    found: dict[str, Any] = {"file": source, "pairs": []}
    if isinstance(values.get("dataset"), dict):
        found["dataset"] = values["dataset"]
        values["dataset"] = values["dataset"].get("name")
    pairs = values.get("pairs")
    if isinstance(pairs, list):
        found["pairs"] = [pair for pair in pairs if isinstance(pair, dict)]
        values["pairs"] = [pair.get("name") if isinstance(pair, dict) else pair for pair in pairs]
    if not found["pairs"] and "dataset" not in found:
        return None
    try:
        return Inline.model_validate(found)
    except ValidationError as error:
        raise UserError(f"{source}: {explain(error)}.") from error


def _with(benchmark: Benchmark, inline: Inline | None) -> Benchmark:
    benchmark._inline = inline
    return benchmark


def looked_up(benchmark: Benchmark, source: str) -> Benchmark:
    """Return the benchmark with canonical selectors, checked against the registry.

    Raises:
        UserError: One line with the source, the key and what is wrong with it.
    """
    if benchmark.inline is not None:
        with at_key(source, "dataset"):
            known = None if benchmark.inline.dataset else registry().dataset(benchmark.dataset).value
            benchmark.inline.provide(known)
    with at_key(source, "dataset"):
        dataset = registry().dataset(benchmark.dataset).value
    for index, name in enumerate(benchmark.pairs):
        with at_key(source, f"pairs.{index}"):
            of = registry().pair(name).value.dataset
            if of != dataset.name:
                raise UserError(f"pair '{name}' is for dataset '{of}', not '{dataset.name}'.")
    for index, setting in enumerate(benchmark.set):
        with at_key(source, f"set.{index}"):
            change(setting)
    values = benchmark.model_dump(mode="json")
    for index, entry in enumerate(values["methods"]):
        with at_key(source, f"methods.{index}"):
            name, raw = parse(entry["method"])
            card = registry().method(name).value
            if dataset.task not in card.tasks:
                raise UserError(
                    f"'{name}' is for {' and '.join(card.tasks)}; '{dataset.name}' is {dataset.task}."
                )
            entry["method"] = canonical(card, resolve(card, raw))
    return _with(_validated(values, source), benchmark.inline)


def options_of(selector: str) -> dict[str, Any]:
    """Return all options that a selector currently stands for, in the form of a record. Raises UserError."""
    return method_of(selector)[1].recorded()


@contextmanager
def at_key(source: str, key: str) -> Iterator[None]:
    """Prefix the messages of user errors raised in the block with the file and the key."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{source}: {key}: {' '.join(str(error).split())}") from error


def _validated(values: dict[str, Any], source: str) -> Benchmark:
    try:
        return Benchmark.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{source}: {explain(error)}.") from error


def _no_repetition(key: str, values: tuple[Any, ...]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{key}: '{value}' stands there more than once")


class _Loader(yaml.SafeLoader):
    """YAML loader that refuses duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a mapping after checking its keys."""
        keys = [(key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{key[1]}' is given twice", node.start_mark
                )
        return super().construct_mapping(node, deep)
