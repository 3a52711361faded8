"""The training step, the loop that yields events, and the writers that consume them."""
