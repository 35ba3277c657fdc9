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
