"""Measures PyTorch at work: operators as they run, memory of live tensors, FLOPs, limits of the machine."""
