"""The places that wire everything together, each readable top to bottom."""
