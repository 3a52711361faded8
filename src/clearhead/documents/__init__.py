"""Documents: what of them is prose, and all around it as it stands."""
