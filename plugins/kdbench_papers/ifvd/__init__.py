"""Intra-class Feature Variation Distillation for Semantic Segmentation (Wang et al.; ECCV 2020)."""
