"""The functions of :mod:`kdbench` that judge recorded results."""

from __future__ import annotations

TYPE_CHECKING = False  # typing is not needed to print the help
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from kdbench.results.compare import Comparison
    from kdbench.results.reproduce import Agreement
    from kdbench.runs.progress import LineConsole


def compare(
    first: str,
    second: str,
    *,
    dataset: str | None = None,
    pair: str | None = None,
    results: str | Path = "results",
) -> list[Comparison]:
    """Say whether the second method is better than the first, which is often ``none``, the plain student.

    Args:
        first: Selector of the method that is compared with.
        second: Selector of the method that is judged.
        dataset: Only this dataset; default: all.
        pair: Only this teacher-student pair; default: all.
        results: Folder of the records.

    Returns:
        A comparison for each dataset, pair, recipe and teacher with results of both; ``verdict`` has the answer.

    Raises:
        kdbench.errors.UserError: If a method, dataset or pair is unknown or has no results, or if the methods have
            no recipe and teacher in common.
    """
    from pathlib import Path

    from kdbench.results.compare import compare

    return compare(Path(results), first, second, dataset=dataset, pair=pair)


def leaderboard(
    *targets: str,
    results: str | Path = "results",
    methods: Sequence[str] = (),
    sort: str | None = None,
) -> pd.DataFrame:
    """Return the leaderboards of datasets or benchmark files as one frame.

    Its columns are those of :data:`kdbench.results.row.COLUMNS`, then the secondary metrics.

    Args:
        targets: Names of datasets and paths of benchmark files; all datasets by default.
        results: Folder of the records.
        methods: Selectors to show, or names of methods for all of their selectors; default: all.
        sort: Column to sort each ranking by; default: its rank.

    Returns:
        A row a method and ranking, the teacher and the plain student always; no row where nothing can be ranked.

    Raises:
        kdbench.errors.UserError: For a bad benchmark file, an unknown dataset, method or column.
    """
    from itertools import chain
    from pathlib import Path

    from kdbench.results.leaderboard import frame_of
    from kdbench.results.query import query
    from kdbench.results.store import Store

    records = Store(Path(results)).readable()
    return frame_of(chain(*query(targets, records, methods=methods, sort=sort).values()))


def reproduce(
    row: str | Path,
    *,
    dataset: str | None = None,
    pair: str | None = None,
    seed: int | None = None,
    benchmark: str | Path | None = None,
    teacher_checkpoints: Sequence[str | Path] = (),
    device: str | None = None,
    data_root: str | Path | None = None,
    results: str | Path = "results",
    work_dir: str | Path = "out/runs",
    download: bool = False,
    anyway: bool = False,
    console: LineConsole | None = None,
) -> Agreement:
    """Run a recorded cell again, from nothing, and say whether the new result agrees with the record.

    On the CPU of the same kind of machine, with the same versions, every metric has to be identical; elsewhere the
    metric that ranks has to be within the noise, which is the spread over the row's seeds. Nothing is written to
    ``results``.

    Args:
        row: A record's file, the first digits (at least 6) of its identity, or a selector.
        dataset: Name of the dataset, where ``row`` is a selector; default: any, if only one fits.
        pair: Name of the teacher-student pair, likewise.
        seed: Seed of the row; default: that of the record, or the lowest.
        benchmark: A benchmark file that defines the row's dataset or pair.
        teacher_checkpoints: As of :func:`run`, where the row's teachers were given.
        device: As of :func:`run`; default: the type of device that the record names.
        data_root: As of :func:`run`.
        results: Folder of the records.
        work_dir: Folder of the runs: a teacher with the recorded weights is taken from it. The new run is in
            ``reproduced`` below it, and is removed if it agrees.
        download: As of :func:`run`.
        anyway: Run even if the code, a plugin or the data differ from the record.
        console: As of :func:`run`.

    Returns:
        The verdict, ``agrees`` with the reason ``why``, and both records, ``then`` and ``now``.

    Raises:
        kdbench.errors.ArgumentError: If an argument cannot be used.
        kdbench.errors.UserError: If no row or more than one is meant, it has no result, or what would run differs
            from the record; the log says in what.
    """
    from pathlib import Path

    from kdbench.benchmarks import load
    from kdbench.devices import choose
    from kdbench.errors import checking_arguments
    from kdbench.results.reproduce import find_row
    from kdbench.results.store import Store
    from kdbench.runs.progress import LineConsole
    from kdbench.runs.reproduce import reproduce
    from kdbench.runs.request import Request
    from kdbench.runs.settings import RunSettings

    if benchmark is not None:
        load(Path(benchmark))
    records = Store(Path(results)).records()[0]
    then = find_row(str(row), records, dataset, pair, seed)
    with checking_arguments():
        like = Request(
            method=then.selector,
            dataset=then.dataset,
            pair=then.pair_name,
            seed=then.seed,
            schedule="smoke" if then.schedule == "smoke" else "default",
            teacher_checkpoints=tuple(map(str, teacher_checkpoints)),
            precision=then.precision,
            device=choose(device or then.device_class),
            data_root=None if data_root is None else Path(data_root),
            benchmark=None if benchmark is None else Path(benchmark),
            download=download,
        )
        where = RunSettings(work_dir=Path(work_dir), results=Path(results), download=download)
    return reproduce(then, records, like, where, console or LineConsole(), anyway=anyway)
