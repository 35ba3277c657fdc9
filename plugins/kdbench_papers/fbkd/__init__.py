"""Improve Object Detection with Feature-based Knowledge Distillation (Zhang, Ma; ICLR 2021)."""
