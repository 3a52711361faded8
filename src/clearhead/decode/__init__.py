"""Decoding: the step that computes, the search that chooses, and the trace that shows."""
