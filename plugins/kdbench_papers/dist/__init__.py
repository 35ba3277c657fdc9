"""Knowledge Distillation from a Stronger Teacher (Huang et al.; NeurIPS 2022)."""
