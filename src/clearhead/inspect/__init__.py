"""Looks into models through PyTorch's own hooks; nothing on the way from text to text knows it."""
