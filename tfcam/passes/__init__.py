"""Passes through a model: the submodel with its tape, and what it hands to the methods.

The only ``GradientTape`` is here (``submodel.py``); ``reading.py`` is what a method is given.
One comes here to change what one pass yields.
"""

import tfcam.utils.backend  # noqa: F401  # says so where Keras is not TensorFlow's
