"""Running a model once for everything that is asked: compiled, batched, frozen, replicated.

``options.py`` declares each option that doors share, once; ``engine.py`` runs, by a runner.
One comes here to make it faster.
"""

import tfcam.utils.backend  # noqa: F401  # says so where Keras is not TensorFlow's
