"""Average precision of the WIDER FACE benchmark, on its validation set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kdbench.metrics.boxes import Array, corners, overlaps, ratio, table
from kdbench.metrics.curves import area

SUBSETS = ("easy", "medium", "hard")
THRESHOLDS = 1 - np.arange(1, 1001) / 1000
OVERLAP = 0.5
_NOTHING = np.zeros((2, len(THRESHOLDS)))


class _Match(NamedTuple):
    """An image's detections by descending score: scores, the face that each overlaps most, and whether enough."""

    scores: Array
    face: Any
    near: Any


def wider_face_ap(folder: str | Path, detections: Mapping[str, Any]) -> dict[str, float]:
    """Return the average precision on the easy, medium and hard faces, as the official evaluation computes it.

    Scores are scaled to [0, 1] over the whole set. In each image every detection is assigned to the face that it
    overlaps most, even if that is already found (corners are pixels of the box). Faces outside the subset are
    ignored, and so are their detections; images without any face, or without any detection, are skipped.

    Args:
        folder: Folder with ``wider_face_val.mat`` and ``wider_{easy,medium,hard}_val.mat`` of the official tools.
        detections: ``event|image`` -> (N, 5) rows of x, y, width, height in pixels, score; images without
            detections may be absent.

    Returns:
        ``easy``, ``medium`` and ``hard`` -> fraction; NaN for a subset without a face.

    Raises:
        ValueError: If an image is not in the validation set, or its array has a wrong shape.
        OSError: If a file cannot be read.
    """
    from scipy.io import loadmat

    folder = Path(folder)
    truth = loadmat(folder / "wider_face_val.mat")
    names = _names(truth)
    faces = dict(zip(names, _images(truth["face_bbx_list"]), strict=True))
    unknown = detections.keys() - faces.keys()
    if unknown:
        raise ValueError(f"{min(unknown)!r} is no image of the validation set: give 'event|image'")
    found = _scaled({key: table(rows, 5, f"detections of {key}") for key, rows in detections.items()})
    matches = {key: _match(rows, faces[key]) for key, rows in found.items() if len(rows) and len(faces[key])}
    result = {}
    for subset in SUBSETS:
        chosen = _images(loadmat(folder / f"wider_{subset}_val.mat")["gt_list"])
        result[subset] = _ap(matches, dict(zip(names, chosen, strict=True)))
    return result


def _names(truth: Mapping[str, Any]) -> list[str]:
    """Return ``event|image`` of each image."""
    events = [event.item() for event in truth["event_list"].ravel()]
    files = [[np.asarray(file).item() for file in event.ravel()] for event in truth["file_list"].ravel()]
    return [f"{event}|{file}" for event, names in zip(events, files, strict=True) for file in names]


def _images(cells: Any) -> list[Any]:
    """Return the entries of all images in a cell array of events, which are cell arrays of images."""
    return [image for event in cells.ravel() for image in event.ravel()]


def _scaled(found: dict[str, Array]) -> dict[str, Array]:
    """Return the detections by descending score, with scores scaled to [0, 1] (to 1 if all are equal)."""
    scores = np.concatenate([np.zeros(0), *(rows[:, 4] for rows in found.values())])
    low, span = scores.min(initial=np.inf), np.ptp(scores) if len(scores) else 0.0
    scaled = {}
    for key, rows in found.items():
        score = (rows[:, 4] - low) / span if span else np.ones(len(rows))
        order = np.argsort(-score, kind="stable")
        scaled[key] = np.column_stack([rows[:, :4], score])[order]
    return scaled


def _match(found: Array, faces: Any) -> _Match:
    shares = overlaps(corners(found), corners(faces.astype(np.float64)), pixel=1)
    return _Match(found[:, 4], shares.argmax(axis=1), shares.max(axis=1) >= OVERLAP)


def _ap(matches: Mapping[str, _Match], chosen: Mapping[str, Any]) -> float:
    """Return the average precision on a subset; ``chosen`` has the one-based indices of each image's faces."""
    total = sum(indices.size for indices in chosen.values())
    if total == 0:
        return float("nan")
    sums = sum((_counts(match, chosen[key].ravel() - 1) for key, match in matches.items()), _NOTHING)
    return area(sums[1] / total, ratio(sums[1], sums[0]))


def _counts(match: _Match, subset: Any) -> Array:
    """Return (2, thresholds): how many detections of an image count, and how many of its faces are found."""
    judged = np.isin(match.face, subset)
    hits = np.flatnonzero(match.near & judged)
    first = np.zeros(len(judged))
    first[hits[np.unique(match.face[hits], return_index=True)[1]]] = 1
    above = np.searchsorted(-match.scores, -THRESHOLDS, side="right")
    gathered = np.cumsum([~match.near | judged, first], axis=1)
    return np.hstack([np.zeros((2, 1)), gathered])[:, above]
