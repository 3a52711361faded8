"""Text in other files than plain ones: rows of tables, translation memories."""
