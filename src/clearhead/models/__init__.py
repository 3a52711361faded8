"""Model families: each a config and a class made of ``clearhead.nn``."""
