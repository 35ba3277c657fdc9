"""Relations between images: losses as pure functions, and the memory of features."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from kdbench.api import gathered, resized, resized_labels, student_and_teacher, unit_vectors
from kdbench_papers.hinton.losses import softmax_divergence

LARGE = 256
"""Smallest height and width at which maps are average-pooled by :data:`POOLING` first."""
POOLING = 4
LARGEST = 1 << 24
"""Maximum number of similarities to the memory that are computed at once."""


def cross_image_loss(student: Tensor, teacher: Tensor, temperature: float = 0.1) -> Tensor:
    """Return the divergence of the pixels' similarities within each image and between the images of a batch.

    For each ordered pair of images (i, j), including i = j, this is the mean over the pixels of i of KL(teacher ||
    student) of the softmax, over the pixels of j, of the cosines divided by T. Pairs are processed one at a time
    and recomputed in the backward pass, so that memory is a few matrices of (H W)^2, 0.3 GB each at 64 x 128, for
    any batch size.

    Reduction: mean over pairs and pixels; 0 if there are none.

    Args:
        student: (B, C, H, W); resized (bilinear) to the teacher's size.
        teacher: (B, C', H', W') with any C'; receives no gradient. Maps of 256 x 256 or more are average-pooled 4 x
            4.
        temperature: T > 0.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the numbers of images differ or T is not positive.

    Source: Yang et al., arXiv 2204.06986, equations 3 to 5.
    """
    ours, theirs = _pixels(resized(student, teacher)), _pixels(teacher.detach())
    if len(ours) != len(theirs):
        raise ValueError(f"student has {len(ours)} images, teacher {len(theirs)}")
    if not theirs.numel():
        return ours.sum()
    terms = [
        _divergence(ours[i], ours[j], theirs[i], theirs[j], temperature)
        for i, j in product(range(len(ours)), repeat=2)
    ]
    return torch.stack(terms).sum() / (len(terms) * theirs.shape[1])


def memory_loss(student: Tensor, teacher: Tensor, memory: Tensor, temperature: float = 0.1) -> Tensor:
    """Return the divergence of the pixels' similarities to a memory.

    This is KL(teacher || student) of the softmax, over the memory, of the inner products divided by T. Some 16
    million of these are computed at once, and recomputed in the backward pass.

    Reduction: mean over pixels; 0 if there are none.

    Args:
        student: (M, C) vectors of unit length.
        teacher: (M, C) vectors of unit length; receives no gradient.
        memory: (K, C) vectors of unit length; receives no gradient.
        temperature: T > 0.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the shapes differ or T is not positive.

    Source: Yang et al., arXiv 2204.06986, equations 6 to 10.
    """
    student, teacher = student_and_teacher(student, teacher)
    if not len(student):
        return student.sum()
    memory = memory.detach().to(student.dtype)
    rows = max(1, LARGEST // len(memory))
    parts = zip(torch.split(student, rows), torch.split(teacher, rows), strict=True)
    terms = [_divergence(ours, memory, theirs, memory, temperature) for ours, theirs in parts]
    return torch.stack(terms).sum() / len(student)


def _pixels(maps: Tensor) -> Tensor:
    """Convert maps (B, C, H, W) to unit vectors (B, H W, C)."""
    if min(maps.shape[-2:]) >= LARGE:
        maps = functional.avg_pool2d(maps, POOLING)
    return unit_vectors(maps.flatten(2)).mT


def _divergence(
    ours: Tensor, our_keys: Tensor, theirs: Tensor, their_keys: Tensor, temperature: float
) -> Tensor:
    """Return the divergence of the rows' similarities to the keys, summed over rows, with checkpointing."""
    total: Tensor = checkpoint(
        _similarity_divergence,
        *(ours, our_keys, theirs, their_keys, temperature),
        use_reentrant=False,
        preserve_rng_state=False,
    )
    return total


def _similarity_divergence(
    ours: Tensor, our_keys: Tensor, theirs: Tensor, their_keys: Tensor, temperature: float
) -> Tensor:
    with torch.autocast(ours.device.type, enabled=False):
        return softmax_divergence(ours @ our_keys.T, theirs @ their_keys.T, temperature).sum()


def _present(labels: Tensor) -> list[int]:
    return labels.unique().tolist()  # type: ignore[no-untyped-call,no-any-return]


class Memory(nn.Module):
    """A queue of unit vectors for each class, initially random.

    Queue and positions are buffers, so that they are saved and resumed with a run.

    Args:
        classes: Number of classes.
        channels: Length of a vector.
        size: Length of each class's queue.
        pixels: Maximum number of pixels of a class that each image adds; 0: it adds their mean, a region.

    Source: Yang et al., arXiv 2204.06986, section 3.3. The released code takes the pixels from the whole image,
        because an index is missing; here they are pixels of the class.
    """

    def __init__(self, classes: int, channels: int, size: int, pixels: int = 0) -> None:
        super().__init__()
        self.pixels = pixels
        self.vectors: Tensor
        self.position: Tensor
        self.register_buffer("vectors", unit_vectors(torch.randn(classes, size, channels), dim=2))
        self.register_buffer("position", torch.zeros(classes, dtype=torch.long))

    @torch.no_grad()
    def push(
        self, features: Tensor, labels: Tensor, ignore_index: int, generator: torch.Generator | None = None
    ) -> None:
        """Add features of each class from the images of all processes; the oldest vectors are dropped.

        Args:
            features: The teacher's features, (B, C, H, W).
            labels: (B, h, w) class indices, resized (nearest) to the features.
            ignore_index: Label of pixels that are left out.
            generator: Generator of random choices, on the features' device; None: torch's own.
        """
        labels = resized_labels(labels, features).flatten(1)
        pixels = unit_vectors(features.flatten(2)).mT
        rows, owners = [pixels.new_zeros(0, pixels.shape[2])], [labels.new_zeros(0)]
        for vectors, own in zip(pixels, labels, strict=True):
            for label in _present(own):
                if label != ignore_index and 0 <= label < len(self.vectors):
                    rows.append(self._chosen(vectors[own == label], generator))
                    owners.append(labels.new_full((len(rows[-1]),), label))
        everybodys, owner = gathered(torch.cat(rows)), gathered(torch.cat(owners))
        for label in _present(owner):
            self._add(label, everybodys[owner == label])

    @torch.no_grad()
    def draw(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Return ``count`` random vectors of each class (or all if there are fewer), at the same positions.

        Returns:
            (classes x count, C).
        """
        places = torch.randperm(self.vectors.shape[1], generator=generator, device=self.vectors.device)[
            :count
        ]
        return self.vectors[:, places].flatten(0, 1)

    def _chosen(self, rows: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return a random choice of the pixels, or their mean."""
        if not self.pixels:
            return unit_vectors(rows.mean(dim=0, keepdim=True))
        return rows[torch.randperm(len(rows), generator=generator, device=rows.device)[: self.pixels]]

    def _add(self, label: int, rows: Tensor) -> None:
        size = self.vectors.shape[1]
        rows = rows[-size:]
        places = (self.position[label] + torch.arange(len(rows), device=rows.device)) % size
        self.vectors[label, places] = rows.to(self.vectors.dtype)
        self.position[label] = (self.position[label] + len(rows)) % size
