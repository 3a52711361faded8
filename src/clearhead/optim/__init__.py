"""Optimizers, their parameter groups, learning-rate schedules and weight averages, over torch.optim."""
