"""Following a run from another process: what it says of itself as it grows."""
