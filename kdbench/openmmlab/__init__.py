"""The only room that imports OpenMMLab: builds models, knows their features, trains, evaluates."""

import logging
import sys

if "mmengine" not in sys.modules:  # a cold disk needs half a minute: say what the silence is
    logging.getLogger(__name__).info("Loading PyTorch and OpenMMLab.")
