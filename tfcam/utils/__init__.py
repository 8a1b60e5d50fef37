"""Small tools that know nothing of models: validation, files, progress, prefetching."""
