"""Recipes, the training loop and model folders."""
