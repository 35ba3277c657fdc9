"""Counts the parameters and the multiply-adds of a pair's models from shapes alone, without computing values."""

from __future__ import annotations

import copy
import traceback
from pathlib import Path
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from torch.utils.flop_counter import FlopCounterMode

from kdbench.dataset_cards import Dataset
from kdbench.distill.randomness import seeded
from kdbench.errors import UserError
from kdbench.openmmlab.captures import queries
from kdbench.openmmlab.captures.parts import family_of_model, has_decode_cascade, stages_of
from kdbench.openmmlab.models.building import full_config, parameters_of
from kdbench.openmmlab.models.features import FeatureTeacher
from kdbench.openmmlab.setup import LIBRARIES, prepare_libraries
from kdbench.specs import Model, Pair, Schedule


def describe(pair: Pair, dataset: Dataset) -> dict[str, dict[str, int]]:
    """Return the parameters and FLOPs of both models of a pair, at the image size of the student's schedule.

    Returns:
        ``teacher`` and ``student`` -> ``parameters`` and ``flops`` of :func:`parameters_and_flops`.

    Raises:
        UserError: If a library is not usable, or a config is not.
    """
    prepare_libraries(LIBRARIES[dataset.task])
    counts = {}
    for role, model in (("teacher", pair.teacher), ("student", pair.student)):
        try:
            config = full_config(model, dataset, pair.schedule, pretrained=False)
            parameters, flops = parameters_and_flops(config, dataset, pair.schedule)
        except UserError:
            raise
        except Exception as error:
            raise broken_model(role, model, error) from error
        counts[role] = {"parameters": parameters, "flops": flops}
    return counts


def broken_model(role: str, model: Model, error: Exception) -> UserError:
    """Return the error of a model that cannot be built or run, which names the model.

    Args:
        role: ``teacher`` or ``student``.
        model: Its config.
        error: What building or running it raised.
    """
    return UserError(
        f"the {role}'s model ({model.config}) does not work: {reason(error)}. "
        f"Check its config and the changes to {role}.* (`settings`)."
    )


def reason(error: Exception) -> str:
    """Format an error in one line: its message, or the failing line of code where it has none."""
    message = " ".join(str(error).split())
    if message:
        return f"{type(error).__name__}: {message}"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}: {frame.line}"


def parameters_and_flops(config: ConfigDict, dataset: Dataset, schedule: Schedule) -> tuple[int, int]:
    """Return the parameters of a model and the FLOPs of its forward pass on one image.

    A FLOP is one multiply-add (as in OpenMMLab's and most papers' tables) of a convolution or a matrix
    product; nothing else is counted: no normalisation, activation, resizing, RoI pooling or NMS. The pass
    ends at the raw outputs of the heads that run in inference (an auxiliary head's parameters count, its
    FLOPs do not); a RoI head sees as many proposals as the config lets through.

    Args:
        config: The ``model`` of a config.
        dataset: Determines the library.
        schedule: Provides the image size, which the model's padding rounds up.
    """
    model = without_values(config, dataset)
    width, height = schedule.scale
    divisor = getattr(model.data_preprocessor, "pad_size_divisor", 1) or 1
    size = [-(-side // divisor) * divisor for side in (height, width)]
    image = torch.zeros(1, 3, *size, device=_device(model))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        _forward(model, image)
    return parameters_of(model), int(counter.get_total_flops()) // 2


def without_values(config: ConfigDict, dataset: Dataset) -> Any:
    """Return the model on the meta device, in evaluation mode; it is not initialised, so nothing is downloaded.

    It is built on the CPU, because some models read values of their own tensors meanwhile. A DETR stays there.
    """
    if dataset.task == "detection":
        from mmdet.registry import MODELS
    else:
        from mmseg.registry import MODELS
    init_default_scope(LIBRARIES[dataset.task])
    with seeded("complexity"):
        model = MODELS.build(copy.deepcopy(config)).eval()
    return model.to(_device(model))


def _device(model: Any) -> str:
    """Return the device for counting: the attention of a DETR reads the sizes of its maps from a tensor."""
    return "cpu" if family_of_model(model) == "query" else "meta"


def _forward(model: Any, image: torch.Tensor) -> None:
    """Run backbone, neck and heads, up to their raw outputs."""
    if isinstance(model, FeatureTeacher):
        model.extract_feat(image)
        return
    family = family_of_model(model)
    if has_decode_cascade(model):
        model.encode_decode(
            image, [{"img_shape": tuple(image.shape[-2:])}]
        )  # stages differ in their arguments
        return
    features = model.extract_feat(image)
    if family == "segmentation":
        model.decode_head(features)
    elif family == "query":
        queries.run_transformer(model, features, [_sample(image)], queries.AT_QUERIES)
    elif family == "dense":
        model.bbox_head(features)
    else:
        model.rpn_head(features)
        _roi_head(model.roi_head, model.test_cfg.rpn.max_per_img)


def _sample(image: torch.Tensor) -> Any:
    """Return the data sample of an image that fills its batch."""
    from mmdet.structures import DetDataSample

    size = tuple(image.shape[-2:])
    return DetDataSample(metainfo={"batch_input_shape": size, "img_shape": size})


def _roi_head(head: Any, proposals: int) -> None:
    """Run every stage of a RoI head on pooled features of all proposals."""
    extractors, heads = stages_of(head.bbox_roi_extractor), stages_of(head.bbox_head)
    for extractor, box_head in zip(extractors, heads, strict=True):
        size = extractor.roi_layers[0].output_size
        pooled = torch.zeros(proposals, extractor.out_channels, *size, device="meta")
        box_head(head.shared_head(pooled) if head.with_shared_head else pooled)
