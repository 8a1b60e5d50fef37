"""The front doors: ``explain``, ``Explainer``, ``compare`` and ``diagnose``."""
