"""Models for other runtimes: a file a format, by model class; no run and no family."""
