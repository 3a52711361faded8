"""Samples: which lines of a split are shown in training, and how they are told."""
