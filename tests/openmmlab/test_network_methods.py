"""Methods on the networks of kdbench_models: two of each family in each run, all of them before a release."""

from __future__ import annotations

import pytest
from paper_networks import NETWORK_FAMILIES, NETWORKS

import kdbench_papers
from kdbench.distill import FAMILIES as CAPTURES
from kdbench.distill.captures import tensors_of
from kdbench.distill.randomness import seeded
from kdbench.plugins import make_method

USUAL = {"dense": ("hinton", "fitnets"), "two-stage": ("mimic", "chen"), "segmentation": ("hinton", "cwd")}
SHORT = {"iterations": 1, "batch_size": 1}


def methods_of(kind):
    """The methods that a network's family and task have all captures for."""
    family = NETWORK_FAMILIES[kind]
    task = "segmentation" if family == "segmentation" else "detection"
    cards = [card for card in kdbench_papers.kdbench_methods() if task in card.tasks]
    return [card.name for card in cards if set(make_method(card, card.options()).needs()) <= CAPTURES[family]]


TRAININGS = [
    pytest.param(
        kind,
        method,
        marks=() if method in USUAL[NETWORK_FAMILIES[kind]] else pytest.mark.release,
        id=f"{kind}-{method}",
    )
    for kind in NETWORKS
    for method in dict.fromkeys((*USUAL[NETWORK_FAMILIES[kind]], *methods_of(kind)))
]


@pytest.mark.parametrize(("kind", "selector"), TRAININGS)
def test_a_method_trains_it(bench, kind, selector, tmp_path):
    model = bench.distiller(kind, selector, **SHORT)
    done = bench.train(model, kind, tmp_path, name=f"{kind}-{selector}", **SHORT)
    metric = "mIoU" if NETWORK_FAMILIES[kind] == "segmentation" else "AP50"
    assert 0 <= done.curve[-1][metric] <= 1


@pytest.mark.parametrize("kind", NETWORKS)
def test_methods_see_all_that_its_family_has(bench, kind):
    from kdbench.openmmlab.captures.families import captures_of, recording

    names = CAPTURES[NETWORK_FAMILIES[kind]] - {"auxiliary_logits"}  # none has an auxiliary head
    student, teacher = bench.subject(kind).build().train(), bench.teacher(kind)
    inputs, samples = bench.probe(kind).batch(student)
    with seeded("test"), recording(student, names) as raw:
        student(inputs, samples, mode="loss")
    for seen in (captures_of(student, raw, names), teacher.captures(inputs, samples, student, raw, names)):
        assert seen.keys() == names
        assert all(tensors_of(seen[name]) for name in names - {"box_levels"})


def test_rfcn_is_seen_before_and_after_the_vote(bench):
    """Its neck is the map of the score maps, its RoI features the pooled cells, whose mean is the logits."""
    from kdbench.openmmlab.captures.families import captures_of, recording

    student = bench.subject("rfcn").build().train()
    inputs, samples = bench.probe("rfcn").batch(student)
    with seeded("test"), recording(student) as raw:
        student(inputs, samples, mode="loss")
    seen = captures_of(student, raw, frozenset({"neck", "rois", "roi_features", "roi_logits", "roi_boxes"}))
    assert [tuple(one.shape) for one in seen["neck"]] == [(2, 16, 4, 4)]
    cells = seen["roi_features"]
    assert cells.shape == (len(seen["rois"]), 10 + 1 + 4, 7, 7)
    assert cells[:, :11].mean((2, 3)).allclose(seen["roi_logits"])
    assert cells[:, 11:].mean((2, 3)).allclose(seen["roi_boxes"])
