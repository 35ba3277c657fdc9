"""What methods look at: what "neck", "rois", "logits" or "assignments" are in each family of models."""
