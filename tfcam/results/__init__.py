"""What a user holds: ``Explanation``, ``Explanations`` and ``Comparison``."""
