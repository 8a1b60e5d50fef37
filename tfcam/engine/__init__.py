"""Running a model once for everything that is asked: compiled, batched, frozen, replicated."""
