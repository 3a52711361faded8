"""Runs opened to be looked into, and their views."""
