"""Explaining a whole data set into a store of maps."""
