"""The page: its own modules, beside those that it shares with pages from disk (``drawing/web``)."""
