"""Networks that OpenMMLab lacks. The files that define them import torch and OpenMMLab, but not kdbench."""
