"""Binary-Weight-Networks (Rastegari et al., ECCV 2016): the teacher with one-bit convolutions in its backbone."""
