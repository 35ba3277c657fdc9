"""Builds, captures, trains and evaluates models of OpenMMLab, which nothing else in kdbench imports."""

import logging
import sys

if "mmengine" not in sys.modules:  # which takes half a minute from a cold disk
    logging.getLogger(__name__).info("Loading PyTorch and OpenMMLab.")
