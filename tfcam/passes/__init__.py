"""Passes through a model: the submodel with its tape, and what it hands to the methods."""
