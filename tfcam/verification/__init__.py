"""How far one map can be trusted: five questions, each asked of the model itself.

``verify`` is the door; ``moves`` makes maps that know nothing, ``hiding`` asks what hiding a part
of the picture does, ``questions`` and ``again`` conclude from it, ``result`` holds what they say.
"""

import tfcam.utils.backend  # noqa: F401  # says so where Keras is not TensorFlow's
