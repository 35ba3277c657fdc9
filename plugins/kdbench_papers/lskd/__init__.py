"""Logit Standardization in Knowledge Distillation (Sun et al.; CVPR 2024): an option of hinton and dkd."""
