"""Scores: corpus metrics and losses."""
