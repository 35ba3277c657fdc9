"""The cards of ESPNet and ESPNet-C."""

from __future__ import annotations

from kdbench.api import ModelCard

LINK = "https://github.com/sacmehta/ESPNet"
CITATION = """\
@inproceedings{mehta2018espnet,
  title={{ESPNet}: Efficient Spatial Pyramid of Dilated Convolutions for Semantic Segmentation},
  author={Mehta, Sachin and Rastegari, Mohammad and Caspi, Anat and Shapiro, Linda and Hajishirzi, Hannaneh},
  booktitle={ECCV},
  year={2018}
}"""

ESPNET_C = ModelCard(
    name="espnet-c",
    title="ESPNet-C: an encoder of dilated convolutions, logits at stride 8 (347,145 parameters for 11 classes)",
    task="segmentation",
    config="kdbench_models::configs/espnet_c.py",
    link=LINK,
    citation=CITATION,
)
ESPNET = ModelCard(
    name="espnet",
    title="ESPNet: ESPNet-C with a decoder to full size (353,437 parameters for 11 classes)",
    task="segmentation",
    config="kdbench_models::configs/espnet.py",
    link=LINK,
    citation=CITATION,
)
