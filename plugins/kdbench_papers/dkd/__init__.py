"""Decoupled Knowledge Distillation (Zhao et al.; CVPR 2022)."""
