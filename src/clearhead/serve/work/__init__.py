"""What computes: one thread that steps all texts, and what waits for it."""
