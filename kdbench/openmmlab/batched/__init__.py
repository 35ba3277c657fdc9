"""mm*'s work on a batch, image by image and with a wait for the device in each, done for the whole batch at once.

On a GPU a step of a detector costs the operators that it launches and the times that the host waits for it. What
stands here gives the same bits as mmdet's and mmseg's own code, which still runs on a CPU and wherever an option is
not covered.
"""
