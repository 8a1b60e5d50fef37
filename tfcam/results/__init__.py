"""What a user holds: ``Explanation``, ``Explanations`` and ``Comparison``.

They keep the map, how it was made and what to mind about it; they draw, save and load.
No model is needed to use them.
"""
