"""The exported student, also in a process of its own where kdbench cannot be imported."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config

from kdbench.cli.export import PARTS, library_of
from kdbench.dataset_cards import Dataset
from kdbench.datasets import digits
from kdbench.openmmlab.setup import prepare_libraries
from kdbench.pairs.small import faster_rcnn, gfl, pspnet
from kdbench.specs import Model, Schedule

prepare_libraries("mmdet")
prepare_libraries("mmseg")

from mmcv.transforms import Compose  # noqa: E402

from kdbench.openmmlab.data.loaders import LOAD_TRUTH, evaluation_pipeline  # noqa: E402
from kdbench.openmmlab.models.building import build_model, full_config  # noqa: E402
from kdbench.openmmlab.weights.checkpoints import load_weights, weights_hash  # noqa: E402
from kdbench.openmmlab.weights.export import export, inference_config  # noqa: E402

SCHEDULE = Schedule(iterations=10, batch_size=2, lr=0.01, scale=(64, 48))
MODELS: dict[str, tuple[Model, Dataset]] = {
    "two-stage": (faster_rcnn(18, 8, 16, first=1, hidden=32), digits.detection),
    "dense": (gfl(18, 8, 16, first=1, norm="head"), digits.detection),
    "segmentation": (pspnet(18, 8, 16, [1.0] * 11), digits.segmentation),
}
THRESHOLDS = {"two-stage": "test_cfg.rcnn.score_thr", "dense": "test_cfg.score_thr"}
"""Set to 0, so that an untrained detector finds boxes."""

OPS = """
# Plain mmdet needs mmcv's compiled ops (nms, roi_align). mmcv may be installed without them here, and then
# kdbench's stand-in, which a user of the export does not have, takes their place: the one part of kdbench
# that is imported, before the import of any other is blocked.
import mmcv
from kdbench.openmmlab import ops
ops.install()
"""

LOAD = """
import json, sys, warnings
warnings.simplefilter("ignore")

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("kdbench", "kdbench_papers"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
import torch
from mmengine.config import Config
torch.set_num_threads(1)
config, checkpoint, image = sys.argv[1:]
if Config.fromfile(config).default_scope == "mmdet":
    from mmdet.apis import inference_detector as infer, init_detector as init
else:
    from mmseg.apis import inference_model as infer, init_model as init
model = init(config, checkpoint, device="cpu")
state = torch.load(checkpoint, weights_only=True)["state_dict"]
for value in model.state_dict().values():
    value.fill_(3)
model.load_state_dict(state, strict=True)
result = infer(model, image)
if "pred_instances" in result:
    found = [result.pred_instances.bboxes.tolist(), result.pred_instances.scores.tolist()]
else:
    found = result.pred_sem_seg.data.tolist()
try:
    import kdbench.errors
    blocked = False
except ImportError:
    blocked = True
loaded = [name for name in sys.modules if name.startswith("kdbench")]
told = {"found": found, "blocked": blocked, "meta": model.dataset_meta, "kdbench": loaded}
print("TOLD" + json.dumps(told))
"""


def alone(config, checkpoint, image, *, ops):
    """Load the export and predict, in a process without kdbench."""
    code = (OPS if ops else "") + LOAD
    command = [sys.executable, "-c", code, str(config), str(checkpoint), str(image)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=config.parent, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("TOLD"))
    return json.loads(line.removeprefix("TOLD"))


def built(family):
    """A student, its config and its dataset."""
    model, dataset = MODELS[family]
    key = THRESHOLDS.get(family)
    model = model.model_copy(update={"edits": model.edits | ({key: 0.0} if key else {})})
    config = full_config(model, dataset, SCHEDULE, pretrained=False)
    return build_model(config, dataset, 3), config, dataset


@pytest.fixture
def image(tmp_path):
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "image.png"
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), pixels)
    return path


def predicted(student, dataset, image):
    """What the student itself predicts, by the pipeline that it is evaluated with."""
    steps = [step for step in evaluation_pipeline(dataset, SCHEDULE) if step["type"] not in LOAD_TRUTH]
    packed = Compose(steps)({"img_path": str(image), "img_id": 0})
    with torch.no_grad():
        batch = {"inputs": [packed["inputs"]], "data_samples": [packed["data_samples"]]}
        return student.eval().test_step(batch)[0]


@pytest.mark.slow
@pytest.mark.parametrize("family", MODELS)
def test_plain_openmmlab_loads_it_strictly_and_predicts_the_same(family, tmp_path, image):
    student, config, dataset = built(family)
    checkpoint, file = export(student, config, dataset, SCHEDULE, tmp_path / "student.pth")
    told = alone(file, checkpoint, image, ops=family != "segmentation")
    assert told["blocked"]
    assert told["meta"]["classes"] == list(dataset.classes)
    expected = predicted(student, dataset, image)
    if family == "segmentation":
        assert told["kdbench"] == []
        assert len(told["meta"]["palette"]) == len(dataset.classes)
        assert torch.equal(torch.tensor(told["found"]), expected.pred_sem_seg.data)
    else:
        light = {"kdbench", "kdbench.experiments", "kdbench.findings", "kdbench.openmmlab"}
        assert all(name in light or name.startswith("kdbench.openmmlab.ops") for name in told["kdbench"])
        assert len(told["found"][0]) > 0
        torch.testing.assert_close(torch.tensor(told["found"][0]), expected.pred_instances.bboxes)
        torch.testing.assert_close(torch.tensor(told["found"][1]), expected.pred_instances.scores)


@pytest.mark.parametrize("family", MODELS)
def test_the_two_files(family, tmp_path):
    student, config, dataset = built(family)
    before = config.to_dict()
    checkpoint, file = export(student, config, dataset, SCHEDULE, tmp_path / "made" / "student.pth")
    assert (checkpoint.name, file.name) == PARTS
    assert sorted(path.name for path in file.parent.iterdir()) == sorted(PARTS)
    assert library_of(file.parent) == {"detection": "mmdet", "segmentation": "mmseg"}[dataset.task]
    assert config.to_dict() == before
    content = torch.load(checkpoint, weights_only=True)
    assert list(content["state_dict"]) == list(student.state_dict())
    assert all(value.device.type == "cpu" for value in content["state_dict"].values())
    assert content["meta"]["dataset_meta"]["classes"] == dataset.classes
    fresh = build_model(config, dataset, 4)
    assert weights_hash(fresh) != weights_hash(student)
    assert load_weights(fresh, checkpoint) == {}
    assert weights_hash(fresh) == weights_hash(student)
    written = Config.fromfile(file)
    assert "kdbench" not in file.read_text().lower()
    assert written.model == config
    assert written.test_dataloader.dataset.pipeline == written.test_pipeline


def test_the_config_names_no_initial_weights():
    config = full_config(
        Model(config="mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"),
        digits.detection,
        SCHEDULE,
        pretrained=True,
    )
    assert "torchvision://" in str(config)
    written = inference_config(config, digits.detection, SCHEDULE)
    assert "torchvision://" not in written.pretty_text
    assert "torchvision://" in str(config)


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def full(*_args, **_more):
        raise OSError(28, "No space left on device")

    student, config, dataset = built("segmentation")
    output = tmp_path / "student.pth"
    output.write_bytes(b"old")
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        export(student, config, dataset, SCHEDULE, output)
    assert [path.name for path in tmp_path.iterdir()] == ["student.pth"]
    assert output.read_bytes() == b"old"
