"""kdbench: benchmark and leaderboards for knowledge distillation in dense prediction."""

from __future__ import annotations

TYPE_CHECKING = False  # typing is not needed to print the help
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

__all__ = ["__version__", "leaderboard"]
__version__ = "0.1.0"


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
        kdbench.errors.UserError: For a bad benchmark file, an unknown method or an unknown column.
    """
    from itertools import chain
    from pathlib import Path

    from kdbench.results.leaderboard import frame_of
    from kdbench.results.query import query
    from kdbench.results.store import Store

    records, _ = Store(Path(results)).records()
    return frame_of(chain(*query(targets, records, methods=methods, sort=sort).values()))
