"""What PyTorch is seen to do: operators, live storages, FLOPs, limits."""
