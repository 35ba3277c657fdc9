"""The columns of a leaderboard."""

from __future__ import annotations

COLUMNS = {
    "dataset": "str",
    "pair": "str",
    "schedule": "str",
    "recipe": "str",
    "teacher": "str",
    "metric": "str",
    "method": "str",
    "seeds": "int64",
    "mean": "float64",
    "std": "float64",
    "shared_seeds": "int64",
    "difference": "float64",
    "low": "float64",
    "high": "float64",
    "gap_closed": "float64",
    "time_ratio": "float64",
    "failed": "int64",
    "verdict": "str",
    "p": "float64",
    "p_holm": "float64",
    "relative_gain": "float64",
    "selection": "str",
    "best": "float64",
    "skipped": "int64",
    "smoke": "int64",
    "missing": "int64",
    "reported": "int64",
    "seconds_per_iteration": "float64",
    "peak_memory_mib": "float64",
    "added_parameters": "float64",
    "student_parameters": "float64",
    "student_flops": "float64",
    "latency_ms": "float64",
    "latency_on": "str",
    "paper_difference": "float64",
    "paper_setting": "str",
    "plugin": "str",
    "command": "str",
}
"""Column -> dtype.

Scores (mean, std, best), differences (difference, low, high, paper_difference), gap_closed and relative_gain (the
difference over the plain student's score of the same seeds) are fractions; std is over seeds; ``p`` is that of the
paired t test and ``p_holm`` the same corrected over the ranking's rows, which decides the verdict. ``selection``
is which evaluation ranks: the last; ``best`` is the mean at the best one, which flatters and never ranks.
failed, skipped, smoke and missing count cells that are in no mean; missing is what a benchmark file asks for and
was not run. ``reported`` is how many of the seeds others report. ``seconds_per_iteration`` is the mean over seeds;
``time_ratio`` compares only seeds in which the method and the plain student took turns in one process; memory,
parameters and FLOPs are the largest of the seeds; ``latency_ms`` is the median of the seeds, measured on
``latency_on``, and blank where that is several kinds of machine. ``paper_difference`` is the paper's own, on
``paper_setting``. Further columns ``metric:NAME`` are means of the other metrics after the last iteration.
"""
GROUP = ["dataset", "pair", "schedule", "recipe", "teacher", "metric"]
"""Rows that differ in one of these are never ranked together."""
TEACHER_ROW = "teacher"
METRIC = "metric:"
"""What the columns of secondary metrics begin with."""
BOOTSTRAP = ("bootstrap_low", "bootstrap_high")
"""Columns that are there when a bootstrap interval was asked for."""
