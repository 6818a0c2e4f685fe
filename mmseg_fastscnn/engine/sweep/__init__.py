"""Recipes over seeds and folds, one process per run."""
