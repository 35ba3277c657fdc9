"""Write benchmarks/README.md: for each CPU pair, the teacher, the plain student and its noise, from results/.

python benchmarks/pairs.py
"""

from __future__ import annotations

import statistics
from pathlib import Path

from kdbench.registry import registry
from kdbench.results.record import Record
from kdbench.results.store import Store

HERE = Path(__file__).parent
HEAD = """# Benchmarks

A CPU pair is useful when it can tell methods apart: its teacher leads the plain student by at least 8 points, and
five plain students, which differ in their seed alone, have a standard deviation of at most 2 points. This is what
was measured (x100, test split, last iteration; the records are in [results](../results)):

| pair | metric | teacher | plain students | mean | std | teacher leads by | s / iteration | fit |
|---|---|---|---|---|---|---|---|---|
"""
TAIL = """
`python benchmarks/cells.py PAIR ...` runs the cells behind this table and the leaderboards,
`python benchmarks/pairs.py` writes this page and `python benchmarks/picture.py` the pictures.
"""
LEAD, NOISE = 8.0, 2.0


def row(name: str, records: list[Record]) -> str:
    """One pair's line of the table."""
    plain = sorted(
        (r for r in records if r.done and r.kind == "cell" and r.method == "none" and r.pair_name == name),
        key=lambda r: r.seed,
    )
    plain = [r for r in plain if r.schedule == "default"]
    distilled = [
        r for r in records if r.pair_name == name and r.teacher is not None and r.schedule == "default"
    ]
    if not plain:
        return f"| {name} | not run |" + " |" * 7
    scores = [100 * float(r.score or 0) for r in plain]
    mean = statistics.mean(scores)
    noise = statistics.stdev(scores) if len(scores) > 1 else float("nan")
    teacher = 100 * distilled[0].teacher.value if distilled and distilled[0].teacher else float("nan")
    fit = "yes" if len(scores) >= 5 and noise <= NOISE and teacher - mean >= LEAD else "no"
    seconds = statistics.median(float(r.cost.seconds_per_iteration or 0) for r in plain)
    each = " ".join(f"{score:.1f}" for score in scores)
    return (
        f"| {name} | {plain[0].metric} | {teacher:.1f} | {each} | {mean:.1f} | {noise:.1f} | "
        f"{teacher - mean:+.1f} | {seconds:.3f} | {fit} |"
    )


def main() -> None:
    """Write the page."""
    records, _ = Store(HERE.parent / "results").records()
    pairs = [offer.value.name for offer in registry().pairs.values() if offer.value.cpu]
    lines = [row(name, records) for name in pairs]
    (HERE / "README.md").write_text(HEAD + "\n".join(lines) + "\n" + TAIL, encoding="utf-8")


if __name__ == "__main__":
    main()
