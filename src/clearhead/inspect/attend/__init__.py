"""Views of what goes into attention and out of it: positions, one query in numbers, its softmax, runs side by side."""
