"""Pages in a browser: to look at what a network does with a picture, and to judge maps blindly.

What a page says and keeps is in functions of their own; the files that name Gradio only lay it out.
"""

import tfcam.utils.backend  # noqa: F401  # says so where Keras is not TensorFlow's
