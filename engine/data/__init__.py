"""Transitions: datasets, replay and the behaviour policies that make them."""
