"""Language models: GPTs, recurrent ones, n-grams."""
