"""Which parts of an image made a Keras model decide as it did.

Names are imported when first used, so that the command line can answer before TensorFlow loads.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfcam import callbacks, losses, scenes
    from tfcam.channels import features
    from tfcam.comparing import compare
    from tfcam.comparison import Comparison
    from tfcam.demo import demo_model
    from tfcam.diagnosing import Diagnosis, diagnose
    from tfcam.dreaming import dream
    from tfcam.dreams import Dream
    from tfcam.embedding import embed
    from tfcam.evaluating import evaluate
    from tfcam.evaluation import Evaluation
    from tfcam.explainer import Explainer, explain
    from tfcam.explanation import Explanation, Explanations
    from tfcam.inspection import layers
    from tfcam.map_store import open_store
    from tfcam.methods import METHODS
    from tfcam.reading import Reading
    from tfcam.recommending import Recommendation, recommend
    from tfcam.streaming import stream
    from tfcam.targets import Difference, Top
    from tfcam.tasks import Box, Regression, Segmentation, Similarity

__version__ = "0.1.0"
__all__ = [
    "METHODS",
    "Box",
    "Comparison",
    "Diagnosis",
    "Difference",
    "Dream",
    "Evaluation",
    "Explainer",
    "Explanation",
    "Explanations",
    "Reading",
    "Recommendation",
    "Regression",
    "Segmentation",
    "Similarity",
    "Top",
    "callbacks",
    "compare",
    "demo_model",
    "diagnose",
    "dream",
    "embed",
    "evaluate",
    "explain",
    "features",
    "layers",
    "losses",
    "open_store",
    "recommend",
    "scenes",
    "stream",
]
_HOMES = {
    "METHODS": "asking",
    "Box": "tasks",
    "Difference": "targets",
    "Comparison": "comparison",
    "Diagnosis": "diagnosing",
    "Dream": "dreams",
    "Evaluation": "evaluation",
    "Explainer": "explainer",
    "Explanation": "explanation",
    "Explanations": "explanation",
    "Reading": "reading",
    "Recommendation": "recommending",
    "Regression": "tasks",
    "Segmentation": "tasks",
    "Similarity": "tasks",
    "Top": "targets",
    "compare": "comparing",
    "demo_model": "demo",
    "diagnose": "diagnosing",
    "embed": "embedding",
    "dream": "dreaming",
    "evaluate": "evaluating",
    "explain": "explainer",
    "features": "channels",
    "layers": "inspection",
    "open_store": "map_store",
    "recommend": "recommending",
    "stream": "streaming",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"tfcam.{_HOMES[name]}"), name)
    if name in __all__:
        return import_module(f"tfcam.{name}")
    raise AttributeError(f"module 'tfcam' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
