"""Measure time and memory of a CSV leaderboard of many records: 10,000 in at most 10 s and 2 GiB.

python benchmarks/speed/leaderboard.py [RECORDS]

The records are copies of a committed one (8 KB each) with other datasets, pairs, options, seeds and scores.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from itertools import islice, product
from pathlib import Path

from kdbench.results.record import Record
from kdbench.specs import digest, unlabelled

ROOT = Path(__file__).parents[2]
DATASETS, PAIRS, SEEDS = 5, 4, 5
RECORDS, MOST_SECONDS, MOST_GIB = 10_000, 10, 2


def template() -> Record:
    """Return a committed record of hinton."""
    [path, *_] = sorted((ROOT / "results" / "records" / "digits").glob("*/hinton-seed0-*.json"))
    return Record.model_validate_json(path.read_bytes())


def write(root: Path, count: int) -> None:
    """Write ``count`` records of different cells."""
    values = json.loads(template().to_json())
    made = {plain: Cells(values, plain) for plain in (True, False)}
    weights = range(-(-count // (DATASETS * PAIRS * SEEDS)))
    for cell in islice(product(range(DATASETS), range(PAIRS), weights, range(SEEDS)), count):
        file, text = made[cell[2] == 0].one(*cell)
        path = root / "records" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class Cells:
    """Records of one method, made from a text with placeholders."""

    def __init__(self, values: dict, plain: bool) -> None:
        self.plain, self.values = plain, json.loads(json.dumps(values))
        spec = self.values["spec"]
        if plain:
            spec |= {"method": "none", "selector": "none", "options": {}, "teacher": None}
            self.values["teacher"] = None
        marked = json.loads(json.dumps(self.values))
        self._set(marked["spec"], "DATASET", "PAIR", "SEED", "WEIGHT")
        marked["identity"], marked["metrics"]["last"]["AP50"] = "IDENTITY", "SCORE"
        self.text = json.dumps(marked, indent=1, sort_keys=True) + "\n"

    def _set(self, spec: dict, dataset: object, pair: object, seed: object, weight: object) -> None:
        spec["dataset"], spec["pair"]["name"], spec["seed"] = dataset, pair, seed
        if not self.plain:
            spec["options"]["weight"], spec["selector"] = weight, f"hinton[weight={weight}]"

    def one(self, dataset: int, pair: int, weight: int, seed: int) -> tuple[str, str]:
        """Return the path of a cell's record, and its text."""
        self._set(self.values["spec"], f"data{dataset}", f"pair{pair}", seed, weight)
        identity = digest(unlabelled(self.values["spec"]))
        score = random.Random(f"{dataset} {pair} {weight} {seed}").random()
        marks = {'"SEED"': seed, '"WEIGHT"': weight, '"SCORE"': score, "WEIGHT": weight}
        marks |= {"DATASET": f"data{dataset}", "PAIR": f"pair{pair}", "IDENTITY": identity}
        text = self.text
        for mark, value in marks.items():
            text = text.replace(mark, str(value))
        name = "none" if self.plain else f"hinton-weight-{weight}"
        return f"data{dataset}/pair{pair}/{name}-seed{seed}-{identity[:12]}.json", text


def main() -> int:
    """Write the records, time the leaderboard and print; return 1 if a limit is exceeded."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write(root, count)
        command = [sys.executable, "-m", "kdbench", "leaderboard", "--format", "csv"]
        command += ["--results", str(root), "--output", str(root / "boards")]
        begun, spent = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
        lines = sum(len(path.read_text().splitlines()) - 1 for path in (root / "boards").glob("*.csv"))
    cpu = after.ru_utime + after.ru_stime - spent.ru_utime - spent.ru_stime
    gib = after.ru_maxrss / 1024 / 1024
    print(f"{count:,} records to {lines:,} rows: {seconds:.1f} s ({cpu:.1f} s of CPU), {gib:.2f} GiB")
    return int(count >= RECORDS and (seconds > MOST_SECONDS or gib > MOST_GIB))


if __name__ == "__main__":
    sys.exit(main())
