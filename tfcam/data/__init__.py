"""Reading pictures with their labels and boxes: folders, arrays, ``tf.data``, annotations.

Whatever is given becomes a stream of ``Example``, read picture by picture.
One comes here to read another format.
"""
