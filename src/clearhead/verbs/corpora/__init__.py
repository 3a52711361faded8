"""Corpora that verbs make: of text in one language, of what a larger translator says."""
