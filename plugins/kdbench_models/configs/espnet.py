"""ESPNet (Mehta et al., ECCV 2018) for CamVid at 480 x 360: ESPNet-C with a decoder."""

_base_ = "espnet_c.py"

model = {"decode_head": {"type": "ESPNetHead"}}
