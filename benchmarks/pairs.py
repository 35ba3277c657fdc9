"""Write benchmarks/README.md, with teacher, plain student and its noise for each CPU pair, from results/.

python benchmarks/pairs.py
"""

from __future__ import annotations

import statistics
from pathlib import Path

from kdbench.plugins import registry
from kdbench.results.leaderboard import rankings
from kdbench.results.record import Record
from kdbench.results.row import TEACHER_ROW
from kdbench.results.store import Store

HERE = Path(__file__).parent
HEAD = """# Benchmarks

A CPU pair is useful if it can tell methods apart: its teacher leads the plain student by at least 8 points, and
five plain students, which differ only in their seed, have a standard deviation of at most 2 points. The
measurements (x100, test split, last iteration; the records are in [results](../results)):

| pair | metric | teacher | plain students | mean | std | teacher leads by | s / iteration | useful |
|---|---|---|---|---|---|---|---|---|
"""
TAIL = """
## Benchmark files

A benchmark is a YAML file with a dataset, pairs, methods and seeds. The plain student always runs; list `none`
among the methods to give it more seeds than the others. A method may have its own `seeds` and `pairs`:

```yaml
title: Scenes of handwritten digits
dataset: digits
pairs: [digits-faster-rcnn, digits-gfl]
seeds: 0..2
methods:
  - method: none
    seeds: 0..4
  - hinton
  - method: mimic
    pairs: [digits-faster-rcnn]
```

`kdbench sweep benchmarks/digits.yaml ...` runs all cells of one or more files that have no record yet,
`python benchmarks/pairs.py` writes this page and `python benchmarks/picture.py` the pictures.

Running each file from scratch (no record, no teacher) with one command took, on two cores of an AMD EPYC under
other load: digits 44 min, digits-seg 41 min, bccd 18 min, camvid 13 min; repeating the command, with all results in
the store, took 0.7 to 1.5 s. Of the 84 records (78 cells and 6 teachers) 72 were equal to those in
[results](../results) in every metric and curve point, and 11 within 1e-6: these are older than the computation of
metrics in double precision. The remaining one, hinton with seed 1 on digits-gfl, had been started with one version
of the method and continued with a later one. It has been replaced (its result is now the same alone and in a pack),
and a training whose method has changed now starts over.

## Ablations

The files in [ablations](ablations) repeat a paper's ablation: `reported` names the variant of a method in the
paper's `reported.csv`, and `paper` selects the published numbers (of a metric where more is better) and the
paper's own plain student, from which the paper's difference is computed:

```yaml
methods:
  - method: mimic[variant=whole-map]
    reported: whole-map
paper:
  method: mimic
  numbers:
    - where: {dataset: COCO, student: Faster R-CNN-R50}
      baseline: {variant: plain}
```

`kdbench sweep benchmarks/ablations/*.yaml` runs them. `python benchmarks/ablations.py` writes
[results/ablations](../results/ablations), with measured and published differences side by side and whether the
order of the variants agrees; with `--check` it fails if a page is out of date.
"""
LEAD, NOISE = 8.0, 2.0


def row(name: str, records: list[Record]) -> str:
    """Return a pair's row of the table."""
    plain = sorted(
        (r for r in records if r.done and r.kind == "cell" and r.method == "none" and r.pair_name == name),
        key=lambda r: r.seed,
    )
    plain = [r for r in plain if r.schedule == "default"]
    if not plain:
        return f"| {name} | not run |" + " |" * 7
    scores = [100 * float(r.score or 0) for r in plain]
    mean = statistics.mean(scores)
    noise = statistics.stdev(scores) if len(scores) > 1 else float("nan")
    here = [record for record in records if record.kind == "teacher" or record.pair_name == name]
    board = next(one for one in rankings(here) if one.first["schedule"] == "default")
    teacher = 100 * board.level(TEACHER_ROW)
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
