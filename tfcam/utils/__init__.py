"""Small tools that know nothing of models: validation, files, progress, prefetching.

Each file has one subject and a name that says it.
What knows of models, maps or methods has a room of its own.
"""
