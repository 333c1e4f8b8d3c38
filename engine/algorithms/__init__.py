"""Recipes: each algorithm as a composition of stages."""
