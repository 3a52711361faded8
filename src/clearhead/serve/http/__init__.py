"""What every dialect has in common: bodies, keys, hosts, refusals, and connections that are too slow."""
