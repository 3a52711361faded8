"""Decoding on a GPU by steps of fixed shapes, each of which is one call of a recorded graph."""
