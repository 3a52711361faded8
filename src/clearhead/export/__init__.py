"""Models for other runtimes: a file or folder a format, by model class; no run and no family."""
