"""Reading pictures with their labels and boxes: folders, arrays, ``tf.data``, annotations."""
