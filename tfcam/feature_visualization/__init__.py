"""Pictures that make a part of a network respond most: activation maximisation.

``dream`` climbs an objective over a parametrisation of the picture, moved by transforms;
a recipe names all three. One comes here to add an objective.
"""

import tfcam.utils.backend  # noqa: F401  # says so where Keras is not TensorFlow's
