"""Fast weights for a CPU: a probe and a way back."""
