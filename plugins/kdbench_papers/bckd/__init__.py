"""Bridging Cross-task Protocol Inconsistency for Distillation in Dense Detection (Yang et al.; ICCV 2023)."""
