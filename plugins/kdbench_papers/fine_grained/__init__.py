"""Distilling Object Detectors with Fine-grained Feature Imitation (Wang et al.; CVPR 2019)."""
