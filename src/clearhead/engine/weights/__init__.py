"""Models as the native engine has them: packed weights in memory or in a file, and what of our models it covers."""
