"""The front doors for the picture in hand: above all that they ask.

``explain`` shows where a model looked, and on request how far that can be trusted;
``report`` puts all that can be said of one picture on a page.
"""

import tfcam.utils.backend  # noqa: F401  # says so where Keras is not TensorFlow's
