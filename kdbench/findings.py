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
    """Compare a method with another one, often ``none``, the plain student.

    Args:
        first: Selector of the reference method.
        second: Selector of the method whose gain over the reference is measured.
        dataset: Only this dataset; default: all.
        pair: Only this teacher-student pair; default: all.
        results: Folder of the records.

    Returns:
        One comparison for each dataset, pair, recipe and teacher with results of both methods; its ``verdict`` says
        whether the second is better.

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
    """Return the leaderboards of datasets or benchmark files as one data frame.

    The columns are those of :data:`kdbench.results.row.COLUMNS`, followed by the secondary metrics.

    Args:
        targets: Names of datasets and paths of benchmark files; default: all datasets.
        results: Folder of the records.
        methods: Selectors to show, or names of methods, which stand for all of their selectors; default: all.
        sort: Column to sort each ranking by; default: the rank.

    Returns:
        One row per ranking and method, always including the teacher and the plain student; empty if nothing can be
        ranked.

    Raises:
        kdbench.errors.UserError: If a benchmark file is invalid, or a dataset, method or column is unknown.
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
    """Run a recorded cell again, from scratch, and check whether the new result agrees with the record.

    On a CPU of the same kind of machine, with the same versions, every metric must be identical; elsewhere the
    ranking metric must be within the noise, which is the spread over the row's seeds. Nothing is written to
    ``results``.

    Args:
        row: A record's file, the first digits (at least 6) of its identity, or a selector.
        dataset: Name of the dataset, if ``row`` is a selector; default: any, if only one fits.
        pair: Name of the teacher-student pair, if ``row`` is a selector; default: any, if only one fits.
        seed: Seed of the row; default: that of the record, or the lowest.
        benchmark: A benchmark file that defines the row's dataset or pair.
        teacher_checkpoints: See :func:`run`; needed if the row's teachers had given checkpoints.
        device: See :func:`run`; default: the type of device in the record.
        data_root: See :func:`run`.
        results: Folder of the records.
        work_dir: Folder of the runs, from which a teacher with the recorded weights is reused. The new run is in
            ``reproduced`` below it, and is removed if it agrees.
        download: See :func:`run`.
        anyway: Run even if the code, a plugin or the data differ from the record.
        console: See :func:`run`.

    Returns:
        The verdict, ``agrees`` with the reason ``why``, and both records, ``then`` and ``now``.

    Raises:
        kdbench.errors.ArgumentError: If an argument is invalid.
        kdbench.errors.UserError: If no row or several rows match, the row has no result, or the code, a plugin or
            the data differ from the record; the log names the differences.
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
