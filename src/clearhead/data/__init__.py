"""Text files to batches: corpora, encoded stores, batch plans and loaders."""
