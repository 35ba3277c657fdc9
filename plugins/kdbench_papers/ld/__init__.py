"""Localization Distillation for Dense Object Detection (Zheng et al.; CVPR 2022)."""
