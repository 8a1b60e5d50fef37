"""What is known of a model: its layers, inputs, calls, head, labels and family.

``ModelGraph`` (``graph.py``) owns it all, each part found once and kept.
One comes here to support another kind of model.
"""

import tfcam.utils.backend  # noqa: F401  # says so where Keras is not TensorFlow's
