"""What a run directory is: recipes, checkpoints, tokenizers, lock, card; no training and no family."""
