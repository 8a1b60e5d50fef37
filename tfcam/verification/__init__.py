"""How far one map can be trusted: five questions, each asked of the model itself.

``verify`` is the door, ``questions`` and ``again`` conclude from what hiding parts of the picture
does; what is hidden, and where else, is in ``tfcam.metrics``, what was found in ``tfcam.results``.
"""

import tfcam.utils.backend  # noqa: F401  # says so where Keras is not TensorFlow's
