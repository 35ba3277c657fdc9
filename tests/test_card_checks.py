"""An invalid card is refused when it is created, rather than failing later in other code."""

from __future__ import annotations

import dataclasses

import pytest

from kdbench.cards import ExecutorCard, MethodCard, ModelCard, Options
from kdbench.dataset_cards import Dataset, MetricCard, Split
from kdbench.offers import ENVIRONMENT
from kdbench.plugins import registry

PART = (Split("a.txt", "images", "labels"),)
DATASET = Dataset(
    name="screws",
    title="Screws",
    task="detection",
    classes=("ok", "bent"),
    metric="AP50",
    splits={"train": PART, "test": PART},
    image_suffix=".png",
    prepare="my_screws:prepare",
    folder="screws",
    license="",
    link="",
    citation="",
)
EXECUTOR = ExecutorCard(name="queue", title="A queue", target="my_queue:Queue", requires=("my_queue",))
METHOD = MethodCard(
    name="glue",
    title="Glue",
    authors="",
    year=2026,
    link="",
    bibtex="",
    tasks=("detection",),
    equations="0",
    method="my_glue:Glue",
)
METRIC = MetricCard(name="worst", title="The worst", function="my_metric:worst")
SOURCE = ModelCard(name="my-zoo", title="My zoo", task=None, features="my_zoo:encoder")


@pytest.mark.parametrize(
    ("card", "changes", "told"),
    [
        (
            DATASET,
            {"prepare": "my_screws.prepare"},
            "the prepare of 'screws' is 'my_screws.prepare': give 'package",
        ),
        (DATASET, {"prepare": print}, "the prepare of 'screws' is <built-in function print>: give"),
        (DATASET, {"task": "pose"}, "the task of 'screws' is 'pose': give detection or segmentation"),
        (DATASET, {"metric": "mIoU"}, "the metric of 'screws' is 'mIoU': give AP50 or AP50_11point"),
        (DATASET, {"classes": "ok"}, "the classes of 'screws' are 'ok': give a tuple of names"),
        (DATASET, {"classes": ()}, "the classes of 'screws' are (): give a tuple of names"),
        (
            DATASET,
            {"task": "segmentation", "metric": "mIoU", "classes": ("road",)},
            "'screws' has one class to tell apart",
        ),
        (DATASET, {"classes": ("a", "b", "a")}, "class 'a' of 'screws': it stands twice"),
        (DATASET, {"classes": ("a", " ")}, "class ' ' of 'screws': it is empty"),
        (DATASET, {"classes": ("a\x1b[2J",)}, "class 'a\\x1b[2J' of 'screws': it has characters that cannot"),
        (
            DATASET,
            {"task": "segmentation", "metric": "mIoU", "ignore_index": 0},
            "'screws' has one class to tell apart: name the background as a class too",
        ),
        (
            METHOD,
            {"families": ("two-step",)},
            "the families of 'glue' are ('two-step',): give a tuple of two-stage",
        ),
        (METHOD, {"families": "dense"}, "the families of 'glue' are dense: give a tuple of"),
        (METHOD, {"families": ("dense", "segmentation")}, "the families of 'glue' are ("),
        (METHOD, {"families": ("segmentation",)}, "the families of 'glue' are ("),
        (DATASET, {"splits": {"train": PART}}, "the splits of 'screws' lack 'train' or 'test'"),
        (
            DATASET,
            {"splits": {"train": PART, "test": PART[0]}},
            "the split 'test' of 'screws' is not a tuple of",
        ),
        (
            EXECUTOR,
            {"target": "my_queue:"},
            "the target of 'queue' is 'my_queue:': give 'package.module:name'",
        ),
        (EXECUTOR, {"options": dict}, "the options of 'queue' are not a subclass of kdbench.api.Options"),
        (
            EXECUTOR,
            {"options": Options()},
            "the options of 'queue' are not a subclass of kdbench.api.Options",
        ),
        (EXECUTOR, {"requires": "ray"}, "what 'queue' requires is 'ray': give a tuple of modules"),
        (METRIC, {"function": "worst"}, "the function of 'worst' is 'worst': give 'package.module:name'"),
        (SOURCE, {"features": "my_zoo"}, "the features of 'my-zoo' is 'my_zoo': give 'package.module:name'"),
        (SOURCE, {"task": "detection"}, "'my-zoo' is a source of feature teachers: it has no config and no"),
        (SOURCE, {"features": ""}, "the task of 'my-zoo' is None: give detection or segmentation"),
    ],
)
def test_others_are_refused(card, changes, told):
    with pytest.raises((TypeError, ValueError)) as refused:
        dataclasses.replace(card, **changes)
    assert str(refused.value).startswith(told)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"table,value\n1,70\n", "have no column dataset, metric, source, student, teacher, variant"),
        ("table,value\nö,1\n".encode("latin-1"), "are no CSV in UTF-8: 'utf-8' codec can't decode"),
        ("table,value\n".encode("utf-16"), "are no CSV in UTF-8: 'utf-8' codec can't decode"),
        (b"table,value\n" + b"x" * 200_000, "are no CSV in UTF-8: field larger than field limit"),
    ],
)
def test_published_numbers_that_cannot_be_read_are_refused(tmp_path, content, told):
    file = tmp_path / "reported.csv"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"the reported numbers of 'glue' {told}"):
        dataclasses.replace(METHOD, reported=file)


@pytest.mark.parametrize(
    "content", [b"", b"paper,table,dataset,teacher,student,variant,metric,value,source\n"]
)
def test_a_paper_may_have_no_numbers(tmp_path, content):
    (file := tmp_path / "reported.csv").write_bytes(content)
    assert dataclasses.replace(METHOD, reported=file).published() == []


def test_the_plugin_is_broken_and_no_other(add_plugin, monkeypatch):
    source = """
    from kdbench.api import MetricCard
    @hookimpl
    def kdbench_metrics():
        yield MetricCard(name="worst", title="", function="worst")
    """
    add_plugin("their-kd", source)
    monkeypatch.setenv(ENVIRONMENT, "kdbench,their-kd")
    registry.cache_clear()
    (error,) = registry().errors()
    assert error.startswith(
        "plugin their-kd (their_kd) failed: ValueError: the function of 'worst' is 'worst'"
    )
    assert "mimic" in registry().methods


def test_what_an_executor_requires_may_be_in_a_package_that_is_not_there():
    from kdbench.executors.select import lacking_of

    assert lacking_of(dataclasses.replace(EXECUTOR, requires=("no_such_package.part", "json.decoder"))) == [
        "no_such_package.part"
    ]
