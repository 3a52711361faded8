"""Documents, translated as a whole."""
