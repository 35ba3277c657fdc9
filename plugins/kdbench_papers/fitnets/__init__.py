"""FitNets: Hints for Thin Deep Nets (Romero et al.; ICLR 2015)."""
