"""Loops of the native engine: searches, generation, and the reading of texts; no torch."""
