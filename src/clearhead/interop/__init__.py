"""Foreign models: their configs and tensors to ours and back, without their libraries."""
