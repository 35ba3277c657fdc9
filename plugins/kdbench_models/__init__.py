"""Networks that OpenMMLab lacks. The files that define them need torch, mmengine and mmseg, but not kdbench."""
