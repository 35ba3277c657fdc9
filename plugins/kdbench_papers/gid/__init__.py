"""General Instance Distillation for Object Detection (Dai et al.; CVPR 2021)."""
