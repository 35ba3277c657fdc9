"""Distilling Knowledge via Knowledge Review (Chen et al.; CVPR 2021)."""
