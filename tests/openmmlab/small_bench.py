"""Small models of every family on a few drawn scenes: ``bench`` builds, probes and trains them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from one_stage import ONE_STAGE
from paper_networks import NETWORK_FAMILIES, NETWORKS
from query_models import QUERY

from kdbench.cards import MethodCard, Options
from kdbench.conformance.models import segmenter
from kdbench.dataset_cards import Dataset
from kdbench.datasets import digits
from kdbench.pairs.small import faster_rcnn, gfl, pspnet, pyramid, resnet, stages, strides
from kdbench.plugins import make_method, registry
from kdbench.selectors import parse, resolve
from kdbench.specs import Model, Schedule, TeacherStage

if TYPE_CHECKING:
    from kdbench.openmmlab.students import Subject

WIDTH = 8
IMAGE = 64
SCHEDULE = Schedule(iterations=4, batch_size=2, lr=0.01, scale=(IMAGE, IMAGE), flip=0.5, clip_norm=10.0)
FAMILIES = {
    "faster": "two-stage",
    "retinanet": "dense",
    "gfl": "dense",
    "fcos": "dense",
    "pspnet": "segmentation",
    "fcn": "segmentation",
    "deeplab": "segmentation",
}
"""The models that every part is tried on, and the family of each."""
OTHERS = {**NETWORK_FAMILIES, "cascade": "two-stage", **dict.fromkeys(QUERY, "query")}
"""The same of further models; those of one_stage.py are dense."""


def espnet(channels: int) -> Model:
    """ESPNet as the teacher, ESPNet-C as the student: networks that another package registers."""
    name = "espnet" if channels == CHANNELS["teacher"] else "espnet_c"
    return Model(config=f"kdbench_models::configs/{name}.py")


def family_of(kind: str) -> str:
    """The family of a small model."""
    return (FAMILIES | OTHERS).get(kind, "dense")


def cascade(channels: int) -> Model:
    """Cascade R-CNN with three RoI heads in a row, which pool other sizes than the small Faster R-CNN."""
    faster = faster_rcnn(18, WIDTH, channels, first=1, hidden=32).edits
    edits = {
        key: value for key, value in faster.items() if not key.startswith(("roi_head", "train_cfg.rcnn"))
    }
    edits |= {f"train_cfg.rcnn.{stage}.sampler.num": 32 for stage in range(3)}
    for stage in range(3):
        head = f"roi_head.bbox_head.{stage}"
        edits |= {f"{head}.in_channels": channels, f"{head}.fc_out_channels": 16}
    edits["roi_head.bbox_roi_extractor.out_channels"] = channels
    edits["roi_head.bbox_roi_extractor.featmap_strides"] = strides(1)
    return Model(config="mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py", edits=edits)


def retinanet(channels: int) -> Model:
    edits = resnet(18, WIDTH) | pyramid(18, WIDTH, channels, 1) | dense_head(channels)
    edits |= {"bbox_head.anchor_generator.strides": strides(1), "neck.add_extra_convs": False}
    return Model(config="mmdet::retinanet/retinanet_r50_fpn_1x_coco.py", edits=edits)


def fcos(channels: int) -> Model:
    edits = resnet(18, WIDTH) | pyramid(18, WIDTH, channels, 1) | dense_head(channels)
    edits |= {
        "backbone.norm_cfg": {"type": "BN", "requires_grad": True},
        "neck.add_extra_convs": False,
        "bbox_head.strides": strides(1),
        "bbox_head.regress_ranges": [[-1, 32], [32, 64], [64, 1e8]],
        "bbox_head.norm_on_bbox": True,
    }
    return Model(config="mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py", edits=edits)


def dense_head(channels: int) -> dict[str, Any]:
    return {
        "bbox_head.in_channels": channels,
        "bbox_head.feat_channels": channels,
        "bbox_head.stacked_convs": 1,
        "bbox_head.norm_cfg": {"type": "BN", "requires_grad": True},
    }


def psp(channels: int) -> Model:
    return pspnet(18, WIDTH, channels, [0.5] + [1.0] * 10)


def deeplab(channels: int) -> Model:
    edits = psp(channels).edits
    edits |= {"decode_head.c1_in_channels": stages(18, WIDTH)[0], "decode_head.c1_channels": 4}
    config = "mmseg::deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py"
    return Model(config=config, edits=edits)


MODELS: dict[str, Any] = {
    "faster": lambda channels: faster_rcnn(18, WIDTH, channels, first=1, hidden=32),
    "retinanet": retinanet,
    "gfl": lambda channels: gfl(18, WIDTH, channels, first=1, norm="head"),
    "fcos": fcos,
    "pspnet": psp,
    "fcn": segmenter,
    "deeplab": deeplab,
    "espnet": espnet,
    "cascade": cascade,
    **ONE_STAGE,
    **QUERY,
    **NETWORKS,
}
CHANNELS = {"student": 16, "teacher": 24}


class Silent:
    """A training that tells nobody."""

    def advance(self, iteration: int, losses: dict[str, float]) -> None: ...

    def evaluated(self, iteration: int, metrics: dict[str, float]) -> None: ...


@dataclass(frozen=True)
class Bench:
    """Builds, probes and trains the small models.

    Attributes:
        folder: The scenes: 6 images to train on, 3 to judge by.
    """

    folder: Path

    def dataset(self, kind: str) -> Dataset:
        return digits.segmentation if family_of(kind) == "segmentation" else digits.detection

    def subject(self, kind: str, role: str = "student", seed: int = 0, **changes: Any) -> Subject:
        from kdbench.openmmlab.students import Subject

        schedule = SCHEDULE.model_copy(update=changes)
        model = MODELS[kind](CHANNELS[role])
        return Subject(f"{kind}-{role}", model, schedule, self.dataset(kind), seed, False)

    def place(self, work_dir: Path, **changes: Any) -> Any:
        from kdbench.openmmlab.training.runner import Place

        return replace(Place(self.folder, work_dir), **changes)

    def teacher(self, kind: str, stage: TeacherStage | None = None) -> Any:
        """The teacher of a kind, which is not trained; with a stage its maps go through that."""
        return teacher(self, kind, None if stage is None else stage.model_dump_json())

    def probe(self, kind: str) -> Any:
        return probe(self, kind)

    def card(self, selector: str) -> tuple[Any, Any]:
        """The card of a method, and its options."""
        name, raw = parse(selector)
        card = registry().method(name).value
        return card, resolve(card, raw)

    def distiller(self, kind: str, selector: str = "none", seed: int = 0, **changes: Any) -> Any:
        """A student with its method, as a run makes it, without the gates."""
        from kdbench.distill.randomness import seeded
        from kdbench.openmmlab.checks.preflight import check_family, probe_shapes
        from kdbench.openmmlab.training.distiller import Distiller

        subject = self.subject(kind, seed=seed, **changes)
        card, options = self.card(selector)
        method = make_method(card, options)
        names = check_family(method, family_of(kind))
        student, taught = subject.build(), self.teacher(kind, stage_of(card, options)) if names else None
        with seeded(seed, "method"):
            if taught is not None:
                method.build(probe_shapes(student, taught, self.probe(kind), names, subject.dataset))
        iterations = subject.schedule.iterations
        return Distiller(student, method, taught, seed=seed, iterations=iterations, names=names)

    def train(self, model: Any, kind: str, work_dir: Path, progress: Any = None, **changes: Any) -> Any:
        """Train a distiller as a run does; trainings of one ``name`` share mmengine's logs in this process."""
        from kdbench.openmmlab.training.runner import train

        workers, name = changes.pop("workers", 0), changes.pop("name", None)
        subject = self.subject(kind, seed=model.seed, **changes)
        place = self.place(work_dir, workers=workers)
        told = progress or Silent()
        return train(
            model, subject.dataset, subject.schedule, place, told, seed=model.seed, name=name or subject.name
        )


def stage_of(card: MethodCard, options: Options) -> TeacherStage | None:
    """The stage that a method asks of its teacher."""
    return None if card.teacher_stage is None else card.teacher_stage(options)


@cache
def teacher(bench: Bench, kind: str, stage: str | None) -> Any:
    from kdbench.openmmlab.training.distiller import Teacher

    subject = bench.subject(kind, "teacher", seed=7)
    if stage is not None:
        subject = replace(subject, stage=TeacherStage.model_validate_json(stage))
    return Teacher(subject.build())


@cache
def probe(bench: Bench, kind: str) -> Any:
    from kdbench.openmmlab.checks.preflight import probe_of
    from kdbench.openmmlab.data.loaders import images_of, training_pipeline
    from kdbench.openmmlab.data.sampling import SeededImages

    subject = bench.subject(kind)
    pipeline = training_pipeline(subject.dataset, subject.schedule)
    return probe_of(SeededImages(images_of(subject.dataset, bench.folder, "train", pipeline), 0))
