"""Reading pictures with their labels and boxes: folders, arrays, ``tf.data``, annotations.

Whatever is given becomes a stream of ``Example``, read picture by picture.
One comes here to read another format.
"""

import tfcam.utils.backend  # noqa: F401  # says so where Keras is not TensorFlow's
