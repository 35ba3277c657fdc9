"""KITTI's average precision: the development kit's values, and its rules one by one."""

from __future__ import annotations

import tarfile

import numpy as np
import pytest

from kdbench.metrics.kitti import LEVELS, kitti_ap, precisions, read_objects, thresholds


@pytest.fixture(scope="module")
def golden(oracles, tmp_path_factory):
    folder = oracles / "kitti"
    made = tmp_path_factory.mktemp("kitti")
    with tarfile.open(folder / "gt_det.tar.gz") as archive:
        archive.extractall(made, filter="data")
    return folder, made / "gt", made / "res" / "data"


def test_the_precisions_of_the_development_kit(golden):
    folder, truth, found = golden
    expected = np.loadtxt(folder / "stats_car_detection.txt")
    frames = [
        (read_objects(path, scored=False), read_objects(found / path.name, scored=True))
        for path in sorted(truth.glob("*.txt"))
    ]
    for row, level in zip(expected, LEVELS.values(), strict=True):
        assert precisions(frames, "Car", level) == pytest.approx(row, abs=5.1e-7)


def test_the_averages_of_the_development_kit(golden):
    found = kitti_ap(*golden[1:], "Car")
    values = [100 * found[f"{kind}/{level}"] for kind in ("AP11", "AP40") for level in LEVELS]
    assert values == pytest.approx([32.0789, 41.1181, 48.1756, 26.6481, 38.2702, 46.4798], abs=1e-4)


def line(kind, x1, y1, x2, y2, *, score=None, occlusion=0, truncation=0):
    scored = "" if score is None else f" {score}"
    return f"{kind} {truncation} {occlusion} 0 {x1} {y1} {x2} {y2} 1 1 1 0 0 0 0{scored}"


CAR, FAR, WRONG = (0, 0, 100, 50), (200, 0, 300, 50), (400, 0, 500, 50)


def share(box, other, whole):
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    own, its = ((b[2] - b[0]) * (b[3] - b[1]) for b in (box, other))
    return width * height / (own if whole else own + its - width * height)


def states(labels, found, name, limits):
    """Of each box and detection: 0 where it counts, 1 where it is ignored, -1 where it takes no part."""
    height, occlusion, truncation = limits
    neighbour = {"Car": "Van", "Pedestrian": "Person_sitting"}.get(name)
    boxes = []
    for kind, box, occluded, truncated in labels:
        beyond = box[3] - box[1] < height or occluded > occlusion or truncated > truncation
        boxes.append((1 if beyond else 0) if kind == name else (1 if kind == neighbour else -1))
    small = [int(abs(box[3] - box[1])) < height for _, box, _ in found]
    return boxes, [
        1 if low else (0 if kind == name else -1) for low, (kind, *_) in zip(small, found, strict=True)
    ]


def first_pass(labels, found, kinds, least):
    """Scores of the valid pairs: each box takes the detection of the highest score."""
    taken, scores = set(), []
    for box, state in zip(labels, kinds[0], strict=True):
        best = None
        for at, one in enumerate(found):
            if state == -1 or kinds[1][at] == -1 or at in taken or share(one[1], box[1], False) <= least:
                continue
            if best is None or one[2] > found[best][2]:
                best = at
        if best is not None:
            taken.add(best)
            scores += [found[best][2]] if state == 0 and kinds[1][best] == 0 else []
    return scores


def second_pass(labels, found, kinds, least, threshold):
    """True and false positives: each box takes the detection that overlaps it most, ignored ones last."""
    taken, true = set(), 0
    for box, state in zip(labels, kinds[0], strict=True):
        best, most, ignored = None, 0.0, False
        for at, one in enumerate(found):
            if state == -1 or kinds[1][at] == -1 or at in taken or one[2] < threshold:
                continue
            shared = share(one[1], box[1], False)
            if shared > least and (shared > most or ignored) and kinds[1][at] == 0:
                best, most, ignored = at, shared, False
            elif shared > least and best is None and kinds[1][at] == 1:
                best, ignored = at, True
        if best is not None:
            taken.add(best)
            true += state == 0 and kinds[1][best] == 0
    wrong = {
        at for at, one in enumerate(found) if at not in taken and kinds[1][at] == 0 and one[2] >= threshold
    }
    regions = [box for kind, box, *_ in labels if kind == "DontCare"]
    return true, sum(all(share(found[at][1], box, True) <= least for box in regions) for at in wrong)


def by_the_book(frames, name, limits):
    """AP11 and AP40 of a level, step by step."""
    least = 0.7 if name == "Car" else 0.5
    kinds = [states(*frame, name, limits) for frame in frames]
    total = sum(each[0].count(0) for each in kinds)
    scores = sorted(
        (one for frame, each in zip(frames, kinds, strict=True) for one in first_pass(*frame, each, least)),
        reverse=True,
    )
    thresholds, recall = [], 0.0
    for at, score in enumerate(scores):
        if (at + 2) / total - recall < recall - (at + 1) / total and at < len(scores) - 1:
            continue
        thresholds.append(score)
        recall += 1 / 40
    slots = [0.0] * 41
    for slot, threshold in enumerate(thresholds):
        pairs = [
            second_pass(*frame, each, least, threshold) for frame, each in zip(frames, kinds, strict=True)
        ]
        true, false = (sum(column) for column in zip(*pairs, strict=True))
        slots[slot] = true / (true + false) if true + false else 0.0
    slots = [max(slots[at:]) for at in range(41)]
    return sum(slots[::4]) / 11, sum(slots[1:]) / 40


@pytest.mark.parametrize("name", ["Car", "Pedestrian", "Cyclist"])
@pytest.mark.parametrize("seed", range(3))
def test_it_follows_the_published_steps(seed, name, tmp_path):
    rng = np.random.default_rng(seed)
    types = [name] * 5 + ["Car", "Van", "Pedestrian", "Person_sitting", "Cyclist", "Truck", "DontCare"]
    frames = []
    for number in range(12):
        labels, found = [], []
        for _ in range(8):
            corner, sides = rng.integers(0, 120, 2), rng.integers(20, 60, 2)
            box = [*corner.tolist(), *(corner + sides).tolist()]
            kind = str(rng.choice(types))
            labels.append((kind, box, int(rng.choice([0, 0, 0, 1, 2])), float(rng.choice([0, 0, 0.2, 0.6]))))
            for _ in range(int(rng.integers(0, 3))):
                moved = [
                    corner + float(shift)
                    for corner, shift in zip(box, rng.integers(-5, 6, 4) / 2, strict=True)
                ]
                guess = kind if rng.random() < 0.8 else name
                found.append((guess if guess != "DontCare" else name, moved, int(rng.integers(0, 50)) / 50))
        frames.append((labels, found))
        for folder, lines in (
            ("truth", [line(kind, *box, occlusion=o, truncation=t) for kind, box, o, t in labels]),
            ("found", [line(kind, *box, score=score) for kind, box, score in found]),
        ):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{number:06d}.txt").write_text("\n".join(lines))
    values = kitti_ap(str(tmp_path / "truth"), tmp_path / "found", name)
    for level, limits in LEVELS.items():
        expected = by_the_book(frames, name, limits)
        assert (values[f"AP11/{level}"], values[f"AP40/{level}"]) == pytest.approx(expected, abs=1e-12)
    assert 0.1 < values["AP40/hard"] < 0.95


@pytest.fixture
def judge(tmp_path):
    """Return AP40 (by default moderate) of the lines of one frame."""

    def judged(truth, found, name="Car", level="moderate"):
        for folder, lines in (("truth", truth), ("found", found)):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / "000000.txt").write_text("\n".join(lines))
        return kitti_ap(tmp_path / "truth", tmp_path / "found", name)[f"AP40/{level}"]

    return judged


HIT = line("Car", *CAR, score=0.5)


def test_one_car_found_is_one_slot_and_all_others_are_not_reached(judge):
    """One score gives one threshold, at recall 0, which AP40 leaves out and AP11 includes."""
    assert judge([line("Car", *CAR)], [HIT]) == 0.0
    assert judge([line("Car", *CAR), line("Car", *FAR)], [HIT, line("Car", *FAR, score=0.4)]) == 1 / 40


def both(*more):
    return [HIT, line("Car", *FAR, score=0.4), *more]


CARS = [line("Car", *CAR), line("Car", *FAR)]


MISTAKE, NONE = 2 / 3 / 40, 1 / 40
"""AP40 of two cars that are found, with and without a false positive of a higher score."""


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ([], MISTAKE),
        ([line("Van", *WRONG)], NONE),
        ([line("Truck", *WRONG)], MISTAKE),
        ([line("Car", *WRONG, occlusion=2)], NONE),
        ([line("Car", *WRONG, truncation=0.31)], NONE),
        ([line("DontCare", 429, 0, 600, 60)], NONE),
        ([line("DontCare", 430, 0, 600, 60)], MISTAKE),
    ],
    ids=["nothing", "van", "truck", "occluded", "truncated", "over 0.7 of it", "0.7 of it"],
)
def test_what_lies_on_something_ignored_is_no_mistake(judge, more, expected):
    assert judge([*CARS, *more], both(line("Car", *WRONG, score=0.9))) == pytest.approx(expected)


def test_a_match_must_exceed_the_overlap(judge):
    at = [line("Pedestrian", 0, 0, 50, 50, score=0.5), line("Pedestrian", 200, 0, 250, 50, score=0.4)]
    half = [line("Pedestrian", 0, 0, 100, 50), line("Pedestrian", 200, 0, 300, 50)]
    assert judge(half, at, "Pedestrian") == 0.0
    assert judge([row.replace(" 100.", " 99.") for row in CARS], both()) == 1 / 40


def test_a_small_detection_of_another_class_hides_a_target(judge):
    """It is 24 pixels high, so it is ignored whatever its class, but its higher score takes the target."""
    cars = [line("Car", 0, 0, 100, 25.5), line("Car", *FAR)]
    found = [line("Car", 0, 0, 100, 25.5, score=0.5), line("Car", *FAR, score=0.4)]
    assert judge(cars, found) == NONE
    assert judge(cars, [*found, line("Tram", 0, 0, 100, 24.9, score=0.9)]) == 0.0
    assert judge(cars, [*found, line("Tram", 0, 0, 100, 25, score=0.9)]) == NONE


def test_types_are_read_in_any_case_and_blank_lines_are_none(judge):
    assert judge([row.lower() for row in CARS], ["", *both()]) == 1 / 40


def test_without_a_target_or_a_detection(judge):
    assert judge([], both()) == 0.0
    assert judge(CARS, []) == 0.0


def test_thresholds_come_closest_to_evenly_spaced_recalls():
    assert thresholds([0.1, 0.3, 0.2], 3) == [0.3, 0.2, 0.1]
    many = thresholds(list(np.arange(400) / 400), 400)
    assert len(many) == 41
    assert many[0] == 399 / 400


def test_other_classes_and_malformed_files_are_refused(judge, tmp_path):
    with pytest.raises(ValueError, match="not 'Tram'"):
        judge([], [], "Tram")
    with pytest.raises(ValueError, match=r"000000\.txt, line 1: give a type and 15 numbers"):
        judge(CARS, CARS)
    with pytest.raises(ValueError, match="line 2"):
        judge([CARS[0], "Car 0 0 x"], [])
    (tmp_path / "found" / "000001.txt").touch()
    with pytest.raises(ValueError, match=r"lacks 000001\.txt"):
        judge(CARS, [])
    (tmp_path / "truth" / "000002.txt").touch()
    with pytest.raises(ValueError, match=r"000002\.txt is missing"):
        judge(CARS, [])
