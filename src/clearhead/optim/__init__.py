"""Optimizers on top of torch.optim: parameter groups, learning-rate schedules, weight averages, Muon."""
