"""The family ``query``: captures of the encoder and of each decoder layer of a DETR, for student and teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from kdbench.distill import Assignment, Logits, reduced
from kdbench.distill.queries import matched_queries
from kdbench.errors import UserError
from kdbench.openmmlab.captures.parts import Raw

HEADS = ("DETRHead", "ConditionalDETRHead", "DABDETRHead", "DeformableDETRHead", "DINOHead")
"""Classes of heads whose queries are known."""
AT_QUERIES = frozenset({"queries", "query_logits", "query_boxes", "query_targets", "logits"})
"""Captures that need the decoder."""


def run_transformer(model: Any, features: Any, samples: Any, names: frozenset[str]) -> None:
    """Run the parts of a model's encoder, decoder and head that the captures need.

    Args:
        model: The model, in eval mode, so that it has no denoising queries.
        features: The maps that the encoder reads.
        samples: Data samples, with each image's size within the padded batch.
        names: Requested captures.
    """
    if names & AT_QUERIES:
        inputs = model.forward_transformer(features, samples)
        model.bbox_head(inputs.pop("hidden_states"), **inputs)
    elif "memory" in names:
        model.forward_encoder(**model.pre_transformer(features, samples)[0])


def record_head(model: Any, raw: Raw) -> Any:
    """Record a head's queries and outputs, without the denoising queries; return the hook's handle."""

    def hook(_module: nn.Module, inputs: Any, output: Any) -> None:
        denoising = hasattr(model, "dn_query_generator")  # whose queries come first
        start = output[0].shape[2] - model.num_queries if denoising else 0
        raw["head"] = tuple(part[:, :, start:] for part in output)
        raw["queries"] = inputs[0][:, :, start:]

    return model.bbox_head.register_forward_hook(hook)


def record_targets(raw: Raw, targets: Any) -> None:
    """Record a head's targets of each decoder layer; those of the encoder, which come last, are left out."""
    kept = raw.setdefault("query_training", [])
    if len(kept) < len(raw["head"][0]):
        kept.append(targets)


def order_of(teacher: Any, record: Raw, student: Raw) -> Tensor:
    """Return the teacher's query, (B, Q), that matches each of the student's by the last layers' predictions.

    Raises:
        UserError: If the teacher has other classes or fewer queries.
    """
    (ours, our_boxes), (theirs, their_boxes) = (
        [part[-1] for part in raw["head"]] for raw in (student, record)
    )
    if ours.shape[-1] != theirs.shape[-1]:
        raise UserError(
            "student and teacher score other classes, or one of them has a class for no object: choose a pair "
            "whose bbox_head has the same num_classes and loss_cls.use_sigmoid."
        )
    if ours.shape[1] > theirs.shape[1]:
        raise UserError(
            f"the student has {ours.shape[1]} queries, the teacher {theirs.shape[1]}: choose a teacher with as "
            "many, or set student.num_queries."
        )
    return matched_queries((ours, theirs), (our_boxes, their_boxes), activation_of(teacher))


def activation_of(model: Any) -> Literal["softmax", "sigmoid"]:
    """Return how a model's logits become probabilities; with softmax the last class is "no object"."""
    return "sigmoid" if model.bbox_head.loss_cls.use_sigmoid else "softmax"


def capture(model: Any, raw: Raw, name: str) -> Any:
    """Return a capture of the family from a raw record; a teacher's is in the student's order.

    Raises:
        UserError: If the model's kind of query is unknown.
    """
    if name == "memory":
        return memory_maps(raw["encoder"], raw["neck"] if "neck" in raw else raw["backbone"])
    _check_head(model.bbox_head)
    if name == "queries":
        return tuple(_ordered(raw["queries"], raw))
    logits, boxes = (_ordered(part, raw) for part in raw["head"])
    if name == "query_boxes":
        return tuple(boxes)
    if name == "query_targets":
        return _targets(model, raw["query_training"], logits, boxes)
    layers = logits[-1:] if name == "logits" else logits
    return Logits(tuple(layer.transpose(1, 2) for layer in layers), activation_of(model))


def memory_maps(memory: Tensor, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Arrange an encoder's output as the maps that it read.

    Args:
        memory: (B, cells, C).
        maps: (B, C, H_i, W_i) each; an encoder of one map reads the last.

    Returns:
        (B, C, H_i, W_i) each.
    """
    sizes = [level.shape[-2:] for level in maps]
    if sum(size.numel() for size in sizes) != memory.shape[1]:
        sizes = sizes[-1:]
    parts = torch.split(memory, [size.numel() for size in sizes], dim=1)
    return tuple(
        part.transpose(1, 2).reshape(len(part), -1, *size) for part, size in zip(parts, sizes, strict=True)
    )


def _check_head(head: Any) -> None:
    if type(head).__name__ not in HEADS:
        raise UserError(
            f"cannot tell what the queries of a {type(head).__name__} are for: choose a pair whose heads are "
            f"{', '.join(HEADS[:-1])} or {HEADS[-1]}, or a method that looks at backbone, neck or memory alone."
        )


def _ordered(layers: Tensor, raw: Raw) -> Tensor:
    """Return queries (L, B, Q, width) in the order that a teacher's record holds."""
    if "order" not in raw:
        return layers
    order: Tensor = raw["order"]
    return layers[:, torch.arange(len(order), device=order.device)[:, None], order]


def _targets(model: Any, training: Sequence[Any], logits: Tensor, boxes: Tensor) -> tuple[Assignment, ...]:
    if len(training) != len(logits):
        raise UserError(
            f"the student's decoder has {len(training)} layers, the teacher's {len(logits)}: choose a pair whose "
            "decoders have the same."
        )
    layers = zip(training, logits, boxes, strict=True)
    return tuple(_layer_assignment(model, *layer) for layer in layers)


def _layer_assignment(model: Any, targets: Any, logits: Tensor, boxes: Tensor) -> Assignment:
    """Return what a layer predicts, logits (B, Q, C) and boxes (B, Q, 4), with the targets of the student's."""
    labels, weights, wanted = (torch.cat(part) for part in targets[:3])
    positive = (labels < model.bbox_head.num_classes).nonzero().squeeze(1)
    of_class = getattr(model.bbox_head.loss_cls, "class_weight", None)
    return Assignment(
        logits.flatten(0, 1),
        activation_of(model),
        labels,
        positive,
        boxes.flatten(0, 1)[positive],
        wanted[positive],
        torch.arange(len(labels), device=labels.device),
        weights if of_class is None else weights * torch.as_tensor(of_class).to(weights)[labels],
        reduced(torch.full((), float(len(positive)), device=labels.device)),
    )
