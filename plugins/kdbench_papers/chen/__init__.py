"""Learning Efficient Object Detection Models with Knowledge Distillation (Chen et al.; NeurIPS 2017)."""
