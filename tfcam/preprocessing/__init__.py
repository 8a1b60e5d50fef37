"""From pictures as they are given to the input that a model takes."""
