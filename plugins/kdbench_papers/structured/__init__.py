"""Structured Knowledge Distillation for Semantic Segmentation (Liu et al.; CVPR 2019)."""
