"""Distilling Object Detectors via Decoupled Features (Guo et al.; CVPR 2021)."""
