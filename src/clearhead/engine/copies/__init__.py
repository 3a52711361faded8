"""Copies of a model that PyTorch has packed: linear layers in the layout of its kernels."""
