"""The interface that the page uses, under ``/api``: each answer is one call of what Python has."""
