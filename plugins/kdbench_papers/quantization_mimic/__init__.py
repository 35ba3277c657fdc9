"""Quantization Mimic: Towards Very Tiny CNN for Object Detection (Wei et al., ECCV 2018)."""
