"""Channel pruning (He et al., ICCV 2017): the teacher with as many channels as the pair's student has."""
