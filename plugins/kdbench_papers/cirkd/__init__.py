"""Cross-Image Relational Knowledge Distillation for Semantic Segmentation (Yang et al.; CVPR 2022)."""
