"""Fast weights for a CPU: ``choose`` says what there is, after a probe, and what decodes without it."""
