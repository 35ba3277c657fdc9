"""The latency of a student: what is timed, and that a run records it."""

from __future__ import annotations

import time

import pytest


@pytest.fixture(params=["faster", "gfl", "pspnet"])
def kind(request):
    return request.param


def test_it_is_the_time_of_one_image_in_eval_mode(bench, kind, monkeypatch, tmp_path):
    from kdbench.openmmlab.latency import REPEATS, WARM_UP, latency_ms

    subject = bench.subject(kind)
    model = subject.build().train()
    seen, own = [], model.test_step

    def slow(batch):
        seen.append((len(batch["inputs"]), tuple(batch["inputs"][0].shape[-2:]), model.training))
        time.sleep(0.5 if len(seen) <= WARM_UP else 0.05)
        return own(batch)

    alone = latency_ms(model, subject.dataset, bench.folder, subject.schedule)
    monkeypatch.setattr(model, "test_step", slow, raising=False)
    slowed = latency_ms(model, subject.dataset, bench.folder, subject.schedule)
    assert seen == [(1, (64, 64), False)] * (WARM_UP + REPEATS)
    assert alone > 0
    assert 50 <= slowed < 500
    assert model.training


def test_a_run_records_it(bench, tmp_path):
    from small_bench import Silent

    from kdbench.openmmlab.students import train_alone

    outcome = train_alone(bench.subject("gfl", iterations=1), bench.place(tmp_path), Silent())
    assert outcome.cost["latency_ms"] > 0
