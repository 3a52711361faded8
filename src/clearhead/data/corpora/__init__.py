"""Several corpora in one training: their shares, the order in which they are drawn, and their text side by side."""
