"""The second tables of a ranking: what it costs, what the paper says, and how to get a row again."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from kdbench.results.columns import TEACHER_ROW
from kdbench.results.formats import blocks, escape, interval, line, percent, rows, times
from kdbench.specs import PLAIN

COST_LEGEND = (
    "Memory is the largest of the seeds; on a CPU it is the whole process's, teacher and all. Added parameters are "
    "trained beside the student and not exported; multiply-adds are those of one image. Latency is the time of the "
    "student for one test image at batch 1, from pixels to boxes or masks: the median of the seeds, each one the "
    "median of several images, and only where all were measured on one kind of machine. Best is the mean score at "
    "each seed's best evaluation: it flatters, and never ranks."
)
PAPER_LEGEND = (
    "The paper's difference to its own plain student, on its nearest published setting: the same variant at its "
    "default options (of a method without variants the same options), the same task and a metric of which more is "
    "better; before others the same dataset, then VOC or Cityscapes, the same metric, a student of the same depth. "
    "It is another setting: other models, data and schedule. P: the paper's table; C: a public implementation; "
    "N: a reading note or survey."
)
AGAIN_LEGEND = (
    "A command runs what has no record yet in its results folder. `kdbench reproduce METHOD --dataset NAME "
    "--pair NAME` runs a recorded row again and says whether it agrees."
)


def details(frame: pd.DataFrame) -> str:
    """Markdown: the costs, the papers' numbers and the commands of each ranking of a leaderboard."""
    parts = []
    for heading, block in blocks(frame):
        parts.append(f"## Details of {escape(heading)}")
        parts.append(f"### Cost\n\n{COST_LEGEND}\n\n{_cost(block)}")
        paper = [row for row in rows(block) if not math.isnan(row["paper_difference"])]
        if paper:
            parts.append(f"### Beside the paper\n\n{PAPER_LEGEND}\n\n{_paper(paper)}")
        parts.append(f"### Each row again\n\n{AGAIN_LEGEND}\n\n{_commands(block)}")
    return "\n\n".join(parts) + "\n"


def _table(titles: list[str], left: int, lines: list[list[str]]) -> str:
    """A markdown table whose columns after the first ``left`` are numbers."""
    align = ["---"] * left + ["---:"] * (len(titles) - left)
    return "\n".join(
        [line(titles), line(align), *(line([escape(cell) for cell in cells]) for cells in lines)]
    )


def _cost(block: pd.DataFrame) -> str:
    """The table of costs, and on which machines the latency was measured where it was."""
    titles = ["method", "time", "memory, MiB", "added parameters", "parameters", "multiply-adds"]
    titles += ["latency, ms", "best"]
    found = rows(block)
    table = _table(titles, 1, [_cost_cells(row) for row in found])
    machines = dict.fromkeys(row["latency_on"] for row in found if row["latency_on"])
    return f"{table}\n\nLatency measured on: {escape('; '.join(machines))}." if machines else table


def _cost_cells(row: dict[str, Any]) -> list[str]:
    sizes = ("peak_memory_mib", "added_parameters", "student_parameters", "student_flops")
    return [
        row["method"],
        times(row["time_ratio"]),
        *(whole(row[name]) for name in sizes),
        milliseconds(row["latency_ms"]),
        percent(row["best"]),
    ]


def milliseconds(value: float) -> str:
    """A latency with three digits; blank when NaN."""
    return "" if math.isnan(value) else f"{value:.3g}"


def whole(value: float) -> str:
    """A count with its digits in groups; blank when NaN."""
    return "" if math.isnan(value) else f"{value:,.0f}"


def _paper(found: list[dict[str, Any]]) -> str:
    titles = ["method", "the paper's setting", "measured here", "95 % interval", "paper"]
    return _table(titles, 2, [_paper_cells(row) for row in found])


def _paper_cells(row: dict[str, Any]) -> list[str]:
    theirs = percent(row["paper_difference"], "+")
    return [row["method"], row["paper_setting"], percent(row["difference"], "+"), interval(row), theirs]


def _commands(block: pd.DataFrame) -> str:
    """A list: a command is too long for a table."""
    told = [row for row in rows(block) if row["command"]]
    return "\n".join(f"- {escape(_name(row))}: {_code(row['command'])}" for row in told)


def _name(row: dict[str, Any]) -> str:
    kind = {TEACHER_ROW: "teacher (with a method's run)", PLAIN: "none (the plain student)"}
    plugin = f", {row['plugin']}" if row["plugin"] else ""
    return f"{kind.get(row['method'], row['method'])}{plugin}"


def _code(text: str) -> str:
    """Inline code, fenced by more backticks than are in it."""
    text = " ".join(text.split())
    fence = "`" * (max((len(run) for run in _runs(text)), default=0) + 1)
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _runs(text: str) -> list[str]:
    """The runs of backticks in a text."""
    return "".join(c if c == "`" else " " for c in text).split()
