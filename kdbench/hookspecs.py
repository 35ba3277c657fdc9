"""The hooks of a plugin. A plugin is a module that implements some of these functions.

Register it under the entry point group ``kdbench`` and mark each function with ``hookimpl``.
Hooks return lightweight descriptions and must not import torch, pandas or OpenMMLab.
Each example is a complete plugin, ``my_package/__init__.py``; its entry point in ``pyproject.toml`` is

```toml
[project.entry-points.kdbench]
my-package = "my_package"
```
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from kdbench.cards import ExecutorCard, MethodCard, ModelCard
    from kdbench.dataset_cards import Dataset, MetricCard
    from kdbench.specs import Pair

hookspec = pluggy.HookspecMarker("kdbench")
hookimpl = pluggy.HookimplMarker("kdbench")


@hookspec
def kdbench_methods() -> Iterable[MethodCard]:  # type: ignore[empty-body]
    '''Yield a card for each distillation method. It names the class, which is imported when the method is run.

    Example:
        ```python
        from kdbench.api import TASKS, MethodCard, Options, hookimpl


        class NeckOptions(Options):
            weight: float = 1.0
            """Factor on the loss."""


        @hookimpl
        def kdbench_methods():
            yield MethodCard(
                name="neck-l2",
                title="L2 on the neck",
                authors="A. Author",
                year=2026,
                link="https://example.org",
                bibtex="@misc{neck_l2, title = {L2 on the neck}, year = {2026}}",
                tasks=TASKS,
                equations="weight * mean (r(S) - T)^2, r: a 1x1 convolution where the channels differ",
                method="my_package.method:NeckL2",
                options=NeckOptions,
            )
        ```

        The method goes into a separate file, since the card must not import torch:

        ```python title="my_package/method.py"
        import torch
        from torch import nn

        from kdbench.api import Method, adapter, mean_square


        class NeckL2(Method):
            captures = ("neck",)  # captured from both models; every family has it

            def build(self, shapes):  # adapters train with the student and are never exported
                self.adapters = nn.ModuleList(adapter(*level) for level in shapes.levels("neck"))

            def losses(self, step):
                levels = zip(self.adapters, step.student["neck"], step.teacher["neck"], strict=True)
                terms = [mean_square(adapt(ours, theirs.shape[-2:]), theirs) for adapt, ours, theirs in levels]
                return {"neck": self.options.weight * torch.stack(terms).mean()}
        ```
    '''


@hookspec
def kdbench_datasets() -> Iterable[Dataset]:  # type: ignore[empty-body]
    """Yield a card for each dataset: its location, splits, classes and metric, and how to get it.

    Example:
        ```python
        from kdbench.api import Dataset, Split, hookimpl, link_or_tell


        def part(name):
            return (Split(f"ImageSets/Main/{name}.txt", "JPEGImages", "Annotations"),)


        SCREWS = Dataset(
            name="screws",
            title="Screws on a belt",
            task="detection",
            classes=("ok", "bent"),
            metric="AP50",
            splits={"train": part("train"), "test": part("test")},
            image_suffix=".png",
            prepare="my_package:prepare",
            folder="screws",
            license="ours",
            link="https://example.org",
            citation="",
        )


        @hookimpl
        def kdbench_datasets():
            yield SCREWS


        def prepare(folder, source):
            # kdbench data prepare screws --from SOURCE
            link_or_tell(SCREWS, folder, source)
        ```
    """


@hookspec
def kdbench_pairs() -> Iterable[Pair]:  # type: ignore[empty-body]
    """Yield teacher-student pairs with their training schedules. A dataset's first pair is its default.

    Example:
        ```python
        from kdbench.api import Model, Pair, Schedule, hookimpl

        RECIPE = Schedule(iterations=9000, batch_size=8, lr=0.01, warmup=500, scale=(1000, 600))


        @hookimpl
        def kdbench_pairs():
            yield Pair(
                name="digits-retinanet-r50-r18",
                title="RetinaNet, ResNet-50 to ResNet-18",
                dataset="digits",
                task="detection",
                family="dense",
                teacher=Model(config="mmdet::retinanet/retinanet_r50_fpn_1x_coco.py"),
                student=Model(config="mmdet::retinanet/retinanet_r18_fpn_1x_coco.py"),
                schedule=RECIPE,
                teacher_schedule=RECIPE,
                pretrained=True,
            )
        ```
    """


@hookspec
def kdbench_models() -> Iterable[ModelCard]:  # type: ignore[empty-body]
    """Yield named networks, for use in pairs, ``--teacher``, ``--student`` and ``kdbench evaluate``.

    The config is a file in the package, and its ``custom_imports`` names the module that registers the network with
    mmengine; no other file of the plugin imports torch. A card with ``features`` is a source of feature
    teachers: ``--teacher my-zoo:NAME`` then uses the network NAME, which the card's function builds.

    Example:
        ```python
        from kdbench.api import ModelCard, hookimpl


        @hookimpl
        def kdbench_models():
            yield ModelCard(
                name="my-net",
                title="My network at half width",
                task="segmentation",
                config="my_package::configs/my_net.py",
            )
        ```
    """


@hookspec
def kdbench_executors() -> Iterable[ExecutorCard]:  # type: ignore[empty-body]
    """Yield a card for each executor, which runs the workers of a sweep; a sweep imports the class that it names.

    Example:
        ```python
        import subprocess

        from kdbench.api import Ended, Executor, ExecutorCard, Resources, hookimpl


        @hookimpl
        def kdbench_executors():
            yield ExecutorCard(
                name="in-turn",
                title="One worker after the other, on this machine's CPU",
                target="my_package:InTurn",
            )


        class InTurn(Executor):
            def __init__(self, slots, device):
                self.slots, self.resources = 1, Resources(gpus=0, cores=1)
                self.ended = []

            def submit(self, command, resources, log):
                with log.open("ab") as file:
                    done = subprocess.run(command, stdout=file, stderr=file)
                self.ended.append(Ended(log.name, done.returncode, f"exit code {done.returncode}"))
                return log.name

            def wait(self, timeout):
                ended, self.ended = self.ended, []
                return ended

            def cancel(self, handle, *, now):
                pass  # a worker has ended when submit returns

            def close(self):
                pass
        ```
    """


@hookspec
def kdbench_metrics() -> Iterable[MetricCard]:  # type: ignore[empty-body]
    """Yield metrics that are computed from the metrics of kdbench's own evaluation.

    A metric with ``tasks`` ranks the datasets whose card names it; it is computed at each evaluation and stored in
    the records. Any other metric is an additional column of the leaderboards (CSV, parquet and frames) and is not
    stored; the leaderboards that ``--write`` commits leave it out, since they must not depend on what is installed.

    Example:
        ```python
        from kdbench.api import MetricCard, hookimpl


        @hookimpl
        def kdbench_metrics():
            yield MetricCard(
                name="worst-class",
                title="AP50 or IoU of the class that does worst",
                function="my_package:worst_class",
            )


        def worst_class(metrics):
            values = [value for name, value in metrics.items() if name.startswith(("AP50/", "IoU/"))]
            return min(values) if values else None
        ```
    """
