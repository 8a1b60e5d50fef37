"""Models that nobody here wrote, from the package index, and what is explained of each."""
