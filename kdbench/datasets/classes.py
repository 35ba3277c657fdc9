"""Classes of which a split has nothing: they cannot be learned, or a score says nothing of them."""

from __future__ import annotations

from collections.abc import Mapping

from kdbench.dataset_cards import Dataset

IGNORED = "ignored"
"""Key, beside the classes, of the pixels that are not judged."""
NAMED = 6
"""Classes that a line names."""


def unusable(dataset: Dataset, counts: Mapping[str, int]) -> str | None:
    """Return why nothing can be learned or measured on a split; None if something can.

    Args:
        dataset: The dataset's card.
        counts: Boxes or pixels of each class of the split, and ignored pixels.
    """
    present = [name for name in dataset.classes if counts[name]]
    if dataset.task == "detection":
        return None if present else "no image has a box"
    if len(present) > 1:
        return None
    found = (
        f"no mask has a pixel of a class but '{present[0]}'" if present else "no mask has a pixel of a class"
    )
    if counts.get(IGNORED):
        return (
            f"{found}, and {counts[IGNORED]} pixels are ignored ({dataset.ignore_index}): are the masks 0 and 255? "
            "Save them with the numbers of the classes, or set ignore_index"
        )
    return f"{found}: every prediction would be right"


def absent(dataset: Dataset, counts: Mapping[str, int]) -> str | None:
    """Return which classes a split has nothing of, in words; None if it has something of each."""
    boxes = dataset.task == "detection"
    judged = [name for at, name in enumerate(dataset.classes) if boxes or at != dataset.ignore_index]
    names = [f"'{name}'" for name in judged if not counts[name]]
    if not names:
        return None
    what = "box" if boxes else "pixel"
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"no {what} of class {', '.join(names[:NAMED])}{more}"


def chance(dataset: Dataset, counts: Mapping[str, int]) -> float:
    """Return a score that takes no skill, in [0, 1], with which a teacher is compared.

    In segmentation it is the best mIoU, over the classes that the truth has, of predictions that do not look at the
    image: one class everywhere, every class as often as the truth has it, or all equally often. AP50 of boxes at
    random is nearly 0, so it is 0.01 in detection.

    Args:
        dataset: The dataset's card.
        counts: Pixels of each class of the split.
    """
    if dataset.task == "detection":
        return 0.01
    total = sum(counts[name] for name in dataset.classes)
    shares = [counts[name] / total for name in dataset.classes if counts[name]]
    even = 1 / len(dataset.classes)
    by_share = sum(share / (2 - share) for share in shares)
    evenly = sum(share * even / (share + even - share * even) for share in shares)
    return max(max(shares), by_share, evenly) / len(shares)
