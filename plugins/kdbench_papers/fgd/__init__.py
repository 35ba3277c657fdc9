"""Focal and Global Knowledge Distillation for Detectors (Yang et al.; CVPR 2022)."""
