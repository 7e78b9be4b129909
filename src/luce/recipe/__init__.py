"""Recipes: a run's full configuration, read, checked, resolved and carried out."""
