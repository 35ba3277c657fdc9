"""The stage that fine-tunes a teacher: a parameter-free transform of the feature maps that its heads read."""

from __future__ import annotations

from typing import Any

from torch import nn

from kdbench.cards import load_object
from kdbench.errors import UserError
from kdbench.openmmlab.captures.parts import family_of_model, has_decode_cascade, parts_of
from kdbench.specs import TeacherStage


def transform_of(stage: TeacherStage) -> nn.Module:
    """Return the transform of a stage.

    Raises:
        UserError: If it cannot be imported or made, is no module, or has parameters or buffers, which a
            checkpoint of the teacher's config could not hold.
    """
    what = f"the {stage.title}'s transform {stage.transform}"
    try:
        transform = load_object(stage.transform)(**stage.arguments)
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{what} cannot be made ({why}): look at the method's plugin.") from error
    if not isinstance(transform, nn.Module) or [*transform.parameters(), *transform.buffers()]:
        raise UserError(f"{what} must be an nn.Module without parameters and buffers.")
    return transform


def apply_stage(model: Any, stage: TeacherStage) -> None:
    """Apply the stage's transform to a model's capture ``neck`` in every forward pass from now on.

    That is the output of the neck (of the backbone where there is no neck), and in segmentation the input of
    the classifying convolution. The heads read the transformed maps, gradients flow through the transform,
    and the model's state dict does not change.

    Raises:
        UserError: As :func:`transform_of` says, or if a segmentor's head is a cascade.
    """
    transform, parts = transform_of(stage), parts_of(model)
    if family_of_model(model) != "segmentation":
        maps_of = parts["neck"] if "neck" in parts else parts["backbone"]
        maps_of.register_forward_hook(lambda _module, _inputs, maps: tuple(transform(one) for one in maps))
        return
    if has_decode_cascade(model):
        raise UserError(f"{type(model).__name__} has a cascade of heads: the {stage.name} stage needs one.")
    parts["classifier"].register_forward_pre_hook(lambda _module, inputs: (transform(inputs[0]), *inputs[1:]))
