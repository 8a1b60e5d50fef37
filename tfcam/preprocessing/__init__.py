"""From pictures as they are given to the input that a model takes.

Which scaling a model wants is found where it can be known, and asked for where it can't.
One comes here to fix an input.
"""

import tfcam.utils.backend  # noqa: F401  # says so where Keras is not TensorFlow's
