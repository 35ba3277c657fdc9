"""Relations of every pixel to the pixels of other images."""

from __future__ import annotations

from torch import Tensor, nn

from kdbench.api import Method, Shapes, Step, resized, resized_labels, unit_vectors
from kdbench_papers.cirkd.card import CirkdOptions
from kdbench_papers.cirkd.losses import Memory, cross_image_loss, memory_loss
from kdbench_papers.hinton.method import check_logits
from kdbench_papers.structured.losses import pixel_wise_loss

ADDED_PIXELS = 16
"""Number of pixels per class that an image adds to the memory."""
DRAWN = {"pixel": 4096, "region": 1024}
"""Approximate number of vectors to draw, over all classes."""


class CrossImage(Method[CirkdOptions]):
    """Makes the student's pixels as similar to those of other images as the teacher's."""

    captures = ("neck", "pixel_logits")

    def build(self, shapes: Shapes) -> None:
        """Create the memories and the projector, if the variant has them."""
        check_logits(shapes, "pixel_logits")
        if "pixel" not in self.options.terms:
            return
        ((ours, theirs),) = shapes.levels("neck")
        self.classes, options = shapes.student["pixel_logits"][0][1], self.options
        self.projector = projector(ours[1], theirs[1])
        self.memories = nn.ModuleDict(
            {
                "pixel": Memory(self.classes, theirs[1], options.pixels, ADDED_PIXELS),
                "region": Memory(self.classes, theirs[1], options.regions),
            }
        )

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the variant's terms."""
        (student,), (teacher,), options = step.student["neck"], step.teacher["neck"], self.options
        logits = step.teacher["pixel_logits"]
        (cells,) = step.targets.valid([logits])
        found = {"kd": pixel_wise_loss(resized(step.student["pixel_logits"], logits), logits, cells)}
        if "batch" in options.terms:
            found["batch"] = cross_image_loss(student, teacher, options.temperature)
        if "pixel" in options.terms:
            found |= self._remembered(student, teacher, step)
        return {name: getattr(options, f"{name}_weight") * term for name, term in found.items()}

    def _remembered(self, student: Tensor, teacher: Tensor, step: Step) -> dict[str, Tensor]:
        """Add this batch to both memories, and return their terms."""
        truth = step.targets
        assert truth.masks is not None
        labels = resized_labels(truth.masks, teacher)
        judged = labels != truth.ignore_index
        projected = resized(self.projector(student), teacher)
        ours, theirs = (unit_vectors(maps).movedim(1, -1)[judged] for maps in (projected, teacher))
        found = {}
        for name, memory in self.memories.items():
            assert isinstance(memory, Memory)
            memory.push(teacher, labels, truth.ignore_index, step.generator)
            drawn = memory.draw(DRAWN[name] // self.classes + 1, step.generator)
            found[name] = memory_loss(ours, theirs, drawn, self.options.temperature)
        return found


def projector(student: int, teacher: int) -> nn.Sequential:
    """Make the layers that project the student's pixels to the teacher's channels."""
    first, second = (nn.Conv2d(width, teacher, 1, bias=False) for width in (student, teacher))
    return nn.Sequential(first, nn.BatchNorm2d(teacher), nn.ReLU(), second)
