"""Heads, the baseline CNN and fine-tuned networks on lesion-grouped folds."""
