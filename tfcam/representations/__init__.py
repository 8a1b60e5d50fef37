"""What a layer holds: its channels, features and their arrangement.

``features`` draws the strongest channels for one picture, ``embed`` how layers arrange many.
Neither explains a decision.
"""

import tfcam.utils.backend  # noqa: F401  # says so where Keras is not TensorFlow's
