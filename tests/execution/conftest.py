from __future__ import annotations

from types import SimpleNamespace

import pytest
from session_lab import METRICS, Lab
from sweep_support import sweep_of
from test_sweep import results


@pytest.fixture(scope="session")
def local_records(tmp_path_factory, small_digits):
    """What the sweep of pretended trainings records under the executor ``local``."""
    folder = tmp_path_factory.mktemp("local")
    assert sweep_of(folder, small_digits).run()
    return results(folder)


@pytest.fixture
def lab(monkeypatch, small_digits, tmp_path):
    from kdbench.openmmlab import students

    made = Lab(small_digits, tmp_path)
    teacher = SimpleNamespace(model="the teacher")
    monkeypatch.setattr(students, "train_alone", made.train)
    monkeypatch.setattr(students, "train_with", made.train)
    monkeypatch.setattr(students, "fine_tune", made.fine_tune)
    monkeypatch.setattr(students, "load_teacher", lambda *_: teacher)
    monkeypatch.setattr(students, "evaluate", lambda *_: METRICS)
    monkeypatch.setattr("kdbench.openmmlab.checkpoints.weights_hash", lambda _model: "abc")
    monkeypatch.setattr("kdbench.execution.refusals.check_method", lambda *_: None)
    monkeypatch.setattr("kdbench.openmmlab.rehearsal.check_model", lambda role, *_, **__: f"{role}: checked")
    monkeypatch.setattr("kdbench.openmmlab.rehearsal.check_together", lambda *_, **__: None)
    return made
