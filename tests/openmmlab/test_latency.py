"""The latency of a pair's models: what is timed, and in which order."""

from __future__ import annotations

import time

import torch


class Slow(torch.nn.Module):
    """A model that takes so many seconds for an image, and notes each."""

    def __init__(self, name, seconds, seen):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.name, self.seconds, self.seen = name, seconds, seen

    def test_step(self, batch):
        self.seen.append((self.name, batch, self.training, torch.is_grad_enabled()))
        time.sleep(self.seconds)


def test_models_are_timed_image_by_image_in_turns(monkeypatch):
    from kdbench.openmmlab import latency

    monkeypatch.setattr(latency, "IMAGES", 2)
    monkeypatch.setattr(latency, "ROUNDS", 3)
    seen = []
    models = {name: Slow(name, seconds, seen).train() for name, seconds in (("a", 0.002), ("b", 0.02))}
    found = latency.in_turns({name: latency.Timed(model, ["x", "y"]) for name, model in models.items()})
    one = [("a", "x"), ("b", "x"), ("a", "y"), ("b", "y")]
    assert [(name, batch) for name, batch, *_ in seen] == one * 4, "one round warms up"
    assert {step[2:] for step in seen} == {(False, False)}, "in eval mode, without gradients"
    assert [len(found.rounds[name]) for name in models] == [3, 3]
    assert min(found.rounds["a"]) >= 2
    assert min(found.rounds["b"]) >= 20
    assert found.undisturbed < 0.5, "a process that sleeps does not have its core"
    assert all(model.training for model in models.values())


def test_a_real_model_is_timed_on_single_images_of_the_test_split(bench, monkeypatch):
    from kdbench.openmmlab import latency

    monkeypatch.setattr(latency, "IMAGES", 2)
    monkeypatch.setattr(latency, "ROUNDS", 1)
    subject = bench.subject("gfl")
    one = latency.timed(subject.build(), subject.dataset, bench.folder, subject.schedule)
    assert [[tuple(image.shape[-2:]) for image in batch["inputs"]] for batch in one.batches] == [
        [(64, 64)]
    ] * 2
    assert latency.in_turns({"student": one}).rounds["student"][0] > 0
