"""Models of runs written for other libraries, each with a certificate of what was compared."""
