"""Explain the results of the sweep of benchmarks/demo.yaml: the scores, their picture, and what to type next.

python benchmarks/demo.py FOLDER    (the folder with the sweep's results/ and runs/)
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from picture import draw

from kdbench import leaderboard
from kdbench.benchmarks import load
from kdbench.specs import PLAIN

FILE = Path(__file__).with_name("demo.yaml")
COMMITTED = Path(__file__).parents[1] / "results"
STORY = """
What happened
  A teacher was trained on scenes of handwritten digits, and {count} small students beside each other: from the same
  initial weights, on the same batches, by the same recipe. They differ only in how they learn from the teacher.

{scores}

  This was one seed, and one seed proves nothing: the verdict above says so. The committed results of more seeds:

{committed}

Look at
  {picture}    the differences as a picture
  {records}    one JSON record for each training

Type next
  {kdbench} show pkd
      the paper's equations, the options, the published numbers
  {kdbench} sweep --methods {methods} --datasets digits --seeds 0..2 {folders}
      two more seeds, for a verdict of your own; what is done is not run again
  {kdbench} run --method hinton --dataset digits {folders}
      another method with the same teacher; `list methods` names them all
  README.md, "What to do next": your own data, models and methods
"""


def rows_of(results: Path) -> dict[str, dict[str, Any]]:
    """Return method -> row of the leaderboard for the demo's pair."""
    demo = load(FILE)
    frame = leaderboard(demo.dataset, results=results)
    rows = frame[(frame["pair"] == demo.pairs[0]) & (frame["schedule"] == "default")].to_dict("records")
    return {str(row["method"]): {str(key): value for key, value in row.items()} for row in rows}


def score(name: str, row: dict[str, Any]) -> str:
    """Return a line with a student's score, and its difference from the plain student."""
    gain = "" if name == PLAIN else f"   {100 * row['difference']:+.1f}"
    return f"  {name:8}{row['metric']} {100 * row['mean']:.1f}{gain}"


def verdict(name: str, row: dict[str, Any]) -> str:
    """Return a line with a method's committed difference and verdict."""
    return f"  {name:8}{100 * row['difference']:+.1f} over {row['seeds']} seeds: {row['verdict']}"


def story(folder: Path) -> str:
    """Return the explanation of the demo in a folder."""
    results, committed = folder / "results", rows_of(COMMITTED)
    methods = [entry.method for entry in load(FILE).methods]
    rows = {name: row for name, row in rows_of(results).items() if name in (PLAIN, *methods)}
    if not rows:
        sys.exit(f"{results} has no result of the demo: run `kdbench sweep {FILE} --results {results}` first")
    return STORY.format(
        count=len(rows),
        scores="\n".join(score(*item) for item in rows.items()),
        committed="\n".join(verdict(name, committed[name]) for name in methods),
        picture=draw(results)[0],
        records=results / "records",
        kdbench=_short(Path(sys.executable).with_name("kdbench")),
        methods=",".join(methods),
        folders=f"--results {results} --work-dir {folder / 'runs'}",
    )


def _short(path: Path) -> Path:
    """Return a path relative to the working directory if it is inside it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    print(story(_short(Path(sys.argv[1]).absolute())))
