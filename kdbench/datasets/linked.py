"""COCO, KITTI and WIDER FACE: ``kdbench data prepare NAME --from DIR`` checks and links them."""

from __future__ import annotations

from functools import partial

from kdbench.dataset_cards import Dataset, Split
from kdbench.datasets.link import link_or_tell
from kdbench.datasets.packages import Package, link_or_fetch

# fmt: off
COCO_CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard",
    "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase",
    "scissors", "teddy bear", "hair drier", "toothbrush",
)
# fmt: on
"""By their ids in the annotations."""


def _coco(year: str) -> tuple[Split, ...]:
    return (Split("", year, f"annotations/instances_{year}.json"),)


def _kitti(name: str) -> tuple[Split, ...]:
    return (Split(f"ImageSets/{name}.txt", "training/image_2", "training/label_2"),)


def _wider(name: str) -> tuple[Split, ...]:
    return (Split("", f"WIDER_{name}/images", f"wider_face_split/wider_face_{name}_bbx_gt.txt"),)


coco = Dataset(
    name="coco",
    title="COCO 2017: everyday scenes, 118287 images for training, 5000 to judge by",
    task="detection",
    classes=COCO_CLASSES,
    metric="mAP",
    splits={"train": _coco("train2017"), "test": _coco("val2017")},
    image_suffix="",
    prepare="kdbench.datasets.linked:prepare_coco",
    folder="coco",
    license="annotations CC BY 4.0; images from flickr under flickr's terms of use",
    link="https://cocodataset.org/#download",
    citation="T.-Y. Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014",
    format="coco",
    images={"train": 118287, "test": 5000},
)
kitti = Dataset(
    name="kitti",
    title="KITTI objects: streets from a car; ImageSets/train.txt and val.txt name the split of the 7481 images",
    task="detection",
    classes=("Car", "Pedestrian", "Cyclist"),
    metric="AP40_moderate",
    splits={"train": _kitti("train"), "test": _kitti("val")},
    image_suffix=".png",
    prepare="kdbench.datasets.linked:link_kitti",
    folder="kitti",
    license="CC BY-NC-SA 3.0",
    link="https://www.cvlibs.net/datasets/kitti/eval_object.php?obj_benchmark=2d",
    citation="A. Geiger et al., Are we ready for Autonomous Driving? The KITTI Vision Benchmark Suite, CVPR 2012",
    format="kitti",
)
widerface = Dataset(
    name="widerface",
    title="WIDER FACE: faces in 61 kinds of events, 12880 images for training, 3226 to judge by",
    task="detection",
    classes=("face",),
    metric="AP_hard",
    splits={"train": _wider("train"), "test": _wider("val")},
    image_suffix="",
    prepare="kdbench.datasets.linked:link_widerface",
    folder="widerface",
    license="for research",
    link="http://shuoyang1213.me/WIDERFACE/",
    citation="S. Yang et al., WIDER FACE: A Face Detection Benchmark, CVPR 2016",
    format="widerface",
    images={"train": 12880, "test": 3226},
)

SERVER = "http://images.cocodataset.org"
COCO_PACKAGES = (
    Package("train2017", "train2017", {f"{SERVER}/zips/train2017.zip": ""}),
    Package("val2017", "val2017", {f"{SERVER}/zips/val2017.zip": ""}),
    Package("annotations", "annotations", {f"{SERVER}/annotations/annotations_trainval2017.zip": ""}),
)

prepare_coco = partial(link_or_fetch, coco, COCO_PACKAGES)
"""Link COCO 2017 on disk, or download it (19 GiB)."""
link_kitti = partial(link_or_tell, kitti, files=("data_object_image_2.zip", "data_object_label_2.zip"))
link_widerface = partial(
    link_or_tell,
    widerface,
    files=("WIDER_train.zip", "WIDER_val.zip", "wider_face_split.zip", "eval_tools.zip"),
)
