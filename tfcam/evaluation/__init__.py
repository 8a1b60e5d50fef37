"""Comparing methods on a data set: measuring, statistics, results, reports.

``evaluate`` measures methods on many pictures, ``recommend`` says which to take for a model.
A run that was stopped goes on from its store.
"""

import tfcam.utils.backend  # noqa: F401  # says so where Keras is not TensorFlow's
