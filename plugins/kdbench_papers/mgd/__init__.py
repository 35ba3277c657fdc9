"""Masked Generative Distillation (Yang et al.; ECCV 2022)."""
