"""Each method in each family on the simulated device, which shows errors of a GPU run.

Methods in ``tests/lightly.py`` only take single steps in one family, except for one with state, whose run is
resumed too.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from children import finish, look_at, start
from lightly import LIGHTLY

from kdbench.conformance.models import examined_families
from kdbench.plugins import registry

DISTRIBUTIONS = ("kdbench", "kdbench-cwd", "kdbench-pkd")
METHODS = [
    offer.value
    for offer in registry().methods.values()
    if offer.plugin.distribution in DISTRIBUTIONS
    and offer.value.name != "none"
    and offer.value.kind == "distillation"
]
BRIEFLY = sorted(LIGHTLY - {"cirkd"})


RUNS = [
    (card.name, family)
    for card in METHODS
    for family in examined_families(card, card.options())[-1 if card.name in BRIEFLY else 0 :]
]


@pytest.fixture(scope="module")
def findings(scenes, tmp_path_factory):
    """Findings for each method; two processes run at a time."""
    names, folder = (
        [card.name for card in METHODS if card.name not in BRIEFLY],
        tmp_path_factory.mktemp("methods"),
    )
    waits = [look_at(names[part::2], BRIEFLY[part::2], scenes, folder) for part in (0, 1)]
    with ThreadPoolExecutor() as both:  # if one process fails, the other is still waited for
        parts = [both.submit(wait) for wait in waits]
    return {key: what for part in parts for key, what in part.result().items()}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("run", RUNS, ids="-".join)
def test_a_run(findings, run):
    assert findings[run] == ""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["quantization-mimic", "channel-pruning[images=2]", "binary-weights"])
def test_the_command_makes_teacher_and_student_on_it(small_digits, tmp_path, method):
    """`kdbench run` trains the teacher, its stage, the plain student and the method or compression."""
    log = tmp_path / "log"
    command = [
        "-m",
        "kdbench.conformance.pretend",
        "run",
        "--method",
        method,
        "--dataset",
        "digits",
    ]
    command += ["--schedule", "smoke", "--workers", "0", "--force", "--root", str(small_digits)]
    command += ["--results", str(tmp_path / "results"), "--work-dir", str(tmp_path / "runs")]
    printed = finish(start(command, log), log)
    assert "on pretend" in printed
    assert "device pretend: never tried by us" in printed
    (record,) = (tmp_path / "results" / "records").rglob(f"{method.partition('[')[0]}*.json")
    assert '"device": "pretended accelerator"' in record.read_text()
