"""Glossaries: what words of a source are to be in its translation."""
