"""mm*'s data preprocessors with a batch moved at once; on a CPU they are mm*'s own."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import ImgDataPreprocessor
from torch import Tensor

from kdbench.devices import CPU
from kdbench.openmmlab.batched.transfer import batch_to_device


class MovedAtOnce(ImgDataPreprocessor):  # type: ignore[misc]
    """Mixed into a data preprocessor: one copy a batch, channels swapped without a list of indices."""

    _channel_conversion: bool

    def forward(self, data: Any, training: bool = False) -> Any:
        """Return the batch on the device, normalised and padded."""
        swaps = self._channel_conversion
        if self.device.type == CPU:
            return super().forward(data, training)
        try:
            self._channel_conversion = False  # done here
            images = _together(data["inputs"])
            moved = batch_to_device({**data, "inputs": images}, self.device)
            return super().forward(
                {**moved, "inputs": _swapped(moved["inputs"]) if swaps else moved["inputs"]}, training
            )
        finally:
            self._channel_conversion = swaps

    def cast_data(self, data: Any) -> Any:
        """mm*'s, for a batch that is on the device already."""
        return super().cast_data(data) if self.device.type == CPU else data


def _together(images: Any) -> Any:
    """Images (3, H, W) of one size as one tensor."""
    if not isinstance(images, Tensor) and len({image.shape for image in images}) == 1:
        return torch.stack(list(images))
    return images


def _swapped(images: Any) -> Any:
    """Images with their three channels in reverse order."""
    if isinstance(images, Tensor):
        return images.flip(-3) if images.shape[-3] == 3 else images
    return [_swapped(image) for image in images]
