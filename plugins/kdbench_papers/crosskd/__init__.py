"""CrossKD: Cross-Head Knowledge Distillation for Dense Object Detection (Wang et al.; CVPR 2024)."""
