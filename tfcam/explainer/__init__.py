"""The front doors: ``explain``, ``Explainer``, ``compare`` and ``diagnose``.

They prepare pictures, ask the engine, and make results of the maps (``assemble.py``).
One comes here to change what ``explain`` does.
"""

import tfcam.utils.backend  # noqa: F401  # says so where Keras is not TensorFlow's
