"""Leaderboards as text and files: markdown pages with all details, CSV, LaTeX and Parquet."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from kdbench.errors import UserError
from kdbench.files import slug, write_atomically
from kdbench.results.across import Across
from kdbench.results.board import Ranking
from kdbench.results.evaluations import evaluations
from kdbench.results.formats import interval, legend, percent, tables, times, to_csv
from kdbench.results.leaderboard import frame_of, rankings
from kdbench.results.papers import TAGS
from kdbench.results.record import Record, Spread
from kdbench.results.row import TEACHER_ROW, Row
from kdbench.results.table import Table, escape, latex
from kdbench.specs import PLAIN
from kdbench.text import line

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = {"csv": ".csv", "markdown": ".md", "latex": ".tex", "parquet": ".parquet"}
"""Format -> suffix of its files."""
COST_LEGEND = (
    "Time is that of an iteration relative to the plain student's, with its range over the seeds. Memory is the "
    "largest of the seeds; on a CPU it is the whole process's, teacher and all. Added parameters are trained "
    "beside the student and not exported; multiply-adds are those of one image. Latency is the time for one test "
    "image at batch 1, from pixels to boxes or masks: the students of a pair are one network, so it is of the "
    "pair, a median with its range. Best is the mean score at each seed's best evaluation: it flatters, and never "
    "ranks."
)
PAPER_LEGEND = (
    "The paper's difference to its own plain student, on its nearest published setting: the same variant at its "
    "default options (of a method without variants the same options), the same task and a metric of which more is "
    "better; before others the same dataset, then VOC or Cityscapes, the same metric, a student of the same depth. "
    f"It is another setting: other models, data and schedule. {TAGS}"
)
AGAIN_LEGEND = (
    "A command runs what has no record yet in its results folder. `kdbench reproduce METHOD --dataset NAME "
    "--pair NAME` runs a recorded row again and says whether it agrees."
)


def boards(records: Iterable[Record], dataset: str | None = None) -> dict[str, list[Ranking]]:
    """Return dataset -> its rankings, of all datasets or one; a dataset without a ranking is left out."""
    found: dict[str, list[Ranking]] = {}
    for ranking in rankings(record for record in records if dataset in (None, record.dataset)):
        found.setdefault(ranking.first["dataset"], []).append(ranking)
    return found


def leaderboard_page(name: str, found: Sequence[Ranking], records: Iterable[Record] = ()) -> str:
    """Return the markdown page of a dataset or benchmark.

    Args:
        name: Its name.
        found: Its rankings.
        records: Records among which are the evaluations of given weights on that dataset.
    """
    shown = to_markdown([*tables(found), *evaluations(records, [name])])
    return f"# {escape(name)}\n\n{legend(found)}\n\n{shown}\n{details(found)}"


def to_markdown(found: Iterable[Table]) -> str:
    """Return tables as markdown."""
    return "\n\n".join(table.markdown() for table in found) + "\n"


def to_latex(found: Iterable[Table], words: str) -> str:
    """Return tables as LaTeX, under their legend as a comment."""
    head = f"% Needs \\usepackage{{booktabs,adjustbox}}.\n% {latex(words)}"
    return "\n\n".join([head, *(table.latex() for table in found)]) + "\n"


def details(found: Iterable[Ranking]) -> str:
    """Return the costs, the papers' numbers and the commands of each ranking as markdown."""
    parts = []
    for ranking in found:
        parts.append(f"## Details of {escape(ranking.heading)}")
        parts.append(f"### Cost\n\n{COST_LEGEND}\n\n{_cost(ranking)}")
        paper = [row for row in ranking.rows if not math.isnan(row["paper_difference"])]
        if paper:
            parts.append(f"### Beside the paper\n\n{PAPER_LEGEND}\n\n{_paper(paper)}")
        parts.append(f"### Each row again\n\n{AGAIN_LEGEND}\n\n{_commands(ranking)}")
    return "\n\n".join(parts) + "\n"


def _cost(ranking: Ranking) -> str:
    """Return the costs of the pair's models, then a table of the training cost of each method."""
    titles = ["method", "time", "memory, MiB", "added parameters", "best"]
    table = Table(titles, [_cost_cells(row) for row in ranking.rows], "lrrrr").markdown()
    return "\n\n".join([*(escape(line) for line in model_notes(ranking)), table])


def _cost_cells(row: Row) -> list[str]:
    counts = [whole(row[name]) for name in ("peak_memory_mib", "added_parameters")]
    return [row["method"], _times(row), *counts, percent(row["best"])]


def _times(row: Row) -> str:
    """Return a ratio of times, with its range over several seeds."""
    low, high = row["time_low"], row["time_high"]
    return times(row["time_ratio"]) + (f" ({low:.2f} to {high:.2f})" if low < high else "")


def whole(value: float) -> str:
    """Return a count with its digits in groups; blank if NaN."""
    return "" if math.isnan(value) else f"{value:,.0f}"


def model_notes(ranking: Ranking) -> list[str]:
    """Return sentences on the size and latency of the pair's models and of those that compressions made."""
    students = [row for row in ranking.rows if row["method"] != TEACHER_ROW]
    made = [row for row in students if "student_bits" in row]
    own = [row for row in students if "student_bits" not in row]
    parts = {"Teacher": ranking.rows[:1], "Student": own} | {row["method"]: [row] for row in made}
    sizes = {name: [row for row in rows if row["student_parameters"] > 0] for name, rows in parts.items()}
    found = [f"{name}: {_size(rows[0])}." for name, rows in sizes.items() if rows]
    found += latencies(cell for row in own for cell in row.done.values())
    return found + [line for row in made for line in latencies(row.done.values(), f" of {row['method']}")]


def _size(row: Row) -> str:
    """Return parameters, multiply-adds and, of a compressed student, the bits of its parameters."""
    bits = f" in {whole(row['student_bits'])} bits" if "student_bits" in row else ""
    flops = whole(row["student_flops"]) or "unknown"
    return f"{whole(row['student_parameters'])} parameters{bits}, {flops} multiply-adds"


def latencies(cells: Iterable[Record], name: str = "") -> list[str]:
    """Return a sentence on the latency of models for each kind of machine.

    Times that were measured in turns are preferred to those at the end of trainings.

    Args:
        cells: Records of students that are the same network.
        name: The row of these students, if they are not the pair's own, after a space.
    """
    found: dict[str, str] = {}
    noisy: dict[str, list[float]] = {}
    for cell in cells:
        if cell.latency is not None:
            spreads = (f"{name} {_range(getattr(cell.latency, name))}" for name in ("student", "teacher"))
            found[cell.machine] = f"{', '.join(spreads)}, in turns, nothing beside them"
        if cell.cost.latency_ms:
            noisy.setdefault(cell.machine, []).append(cell.cost.latency_ms)
    for machine, ended in noisy.items():
        spread = Spread(median=median(ended), low=min(ended), high=max(ended))
        told = f"student {_range(spread)} as {len(ended)} trainings ended, beside whatever else ran"
        found.setdefault(machine, told)
    return [f"Latency{name} on {machine}: {found[machine]}." for machine in sorted(found)]


def _range(spread: Spread) -> str:
    return f"{spread.median:.3g} ms ({spread.low:.3g} to {spread.high:.3g})"


def _paper(found: Iterable[Row]) -> str:
    titles = ["method", "the paper's setting", "measured here", "95 % interval", "paper"]
    return Table(titles, list(map(_paper_cells, found)), "llrrr").markdown()


def _paper_cells(row: Row) -> list[str]:
    theirs = percent(row["paper_difference"], "+")
    return [row["method"], row["paper_setting"], percent(row["difference"], "+"), interval(row), theirs]


def _commands(ranking: Ranking) -> str:
    """Return the commands as a list: a command is too long for a table."""
    told = [row for row in ranking.rows if row["command"]]
    return "\n".join(f"- {escape(_name(row))}: {_code(row['command'])}" for row in told)


def _name(row: Row) -> str:
    kind = {TEACHER_ROW: "teacher (with a method's run)", PLAIN: "none (the plain student)"}
    plugin = f", {row['plugin']}" if row["plugin"] else ""
    return f"{kind.get(row['method'], row['method'])}{plugin}"


def _code(text: str) -> str:
    """Return inline code, in more backticks than it has in a row."""
    text = line(text)
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


TEXTS: dict[str, Callable[[Sequence[Ranking]], str]] = {
    "csv": to_csv,
    "markdown": lambda found: to_markdown(tables(found)),
    "latex": lambda found: to_latex(tables(found), legend(found)),
}
"""Format -> function that writes rankings in it."""


def across_text(found: Across, style: str) -> str:
    """Return a comparison over rankings as ``csv``, ``markdown`` or ``latex``."""
    if style == "csv":
        return found.csv()
    if style == "latex":
        return to_latex(found.tables(), found.legend)
    parts = [table.markdown() for table in found.tables()]
    left_out = [escape(found.left_out)] if found.left_out else []
    return "\n\n".join([found.legend.removesuffix(found.left_out).rstrip(), *parts, *left_out]) + "\n"


def to_parquet(frame: pd.DataFrame) -> bytes:
    """Return a frame as Parquet, with all digits; raise UserError if pyarrow is not installed."""
    if find_spec("pyarrow") is None:
        raise UserError("--format parquet needs pyarrow: install it with `pip install 'kdbench[parquet]'`.")
    buffer = io.BytesIO()
    frame.to_parquet(buffer, engine="pyarrow", index=False)
    return buffer.getvalue()


def write_boards(
    found: Mapping[str, Sequence[Ranking]], style: str, folder: Path, records: Sequence[Record] = ()
) -> list[Path]:
    """Write a file for each leaderboard and return the files in the order of the leaderboards.

    Args:
        found: Name -> rankings.
        style: Format of the files.
        folder: Folder of the files.
        records: Records among which are evaluations of given weights.

    Raises:
        UserError: If a file cannot be written, or two would have one name.
    """
    files: dict[Path, str | bytes] = {}
    for name, board in found.items():
        file = folder / f"{slug(name)}{SUFFIXES[style]}"
        if file in files:
            raise UserError(f"two leaderboards would be {file}: write them to different folders.")
        files[file] = _content(name, board, style, records)
    return write_pages(files)


def _content(name: str, board: Sequence[Ranking], style: str, records: Sequence[Record]) -> str | bytes:
    if style == "parquet":
        return to_parquet(frame_of(board))
    return leaderboard_page(name, board, records) if style == "markdown" else TEXTS[style](board)


def write_across(found: Across, style: str, folder: Path) -> list[Path]:
    """Write a comparison over rankings into a folder; raise UserError if it cannot be written."""
    content = to_parquet(found.frame()) if style == "parquet" else across_text(found, style)
    return write_pages({folder / f"across{SUFFIXES[style]}": content})


def leaderboard_files(root: Path, records: Sequence[Record], datasets: Sequence[str] = ()) -> dict[Path, str]:
    """Return the files ``leaderboards/<dataset>.csv`` and ``.md`` under ``root``, with their texts.

    Args:
        root: The results folder.
        records: Its records.
        datasets: Names of the datasets; default: all.
    """
    files: dict[Path, str] = {}
    for name in datasets or (None,):
        for dataset, found in boards(records, name).items():
            folder, stem = root / "leaderboards", slug(dataset)
            files[folder / f"{stem}.csv"] = to_csv(found)
            files[folder / f"{stem}.md"] = leaderboard_page(dataset, found, records)
    return files


def write_pages(files: Mapping[Path, str | bytes]) -> list[Path]:
    """Write files and return them in their order; raise UserError if one cannot be written."""
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                write_atomically(path, content)
            else:
                path.write_bytes(content)
    except OSError as error:
        folder = next(iter(files)).parent
        raise UserError(f"cannot write {folder}: {error.strerror or error}.") from error
    return list(files)


def stale_pages(files: Mapping[Path, str], folder: Path, names: Sequence[str] = ()) -> list[str]:
    """Return a line for each markdown or CSV file of a folder that is missing, differs or should not exist, sorted.

    Args:
        files: The files that the folder should have, with their texts.
        folder: The folder.
        names: Names of the files to check, without a suffix; default: all.
    """
    there = {path for path in folder.glob("*") if path.suffix in (".md", ".csv")}
    if names:
        there = {path for path in there if path.stem in names}
    problems = [f"{path}: no record gives it" for path in there - files.keys()]
    problems += [f"{path}: missing" for path in files.keys() - there]
    same = {path: path.read_bytes() == files[path].encode() for path in files.keys() & there}
    problems += [f"{path}: differs from what the records give" for path, equal in same.items() if not equal]
    return sorted(problems)
