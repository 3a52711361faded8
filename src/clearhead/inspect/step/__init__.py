"""Views of what happens in a training step: the order of hooks, and gradients of several batches added up."""
