"""Paying More Attention to Attention (Zagoruyko, Komodakis; ICLR 2017)."""
