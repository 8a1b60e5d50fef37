"""Which parts of an image made a Keras model decide as it did.

Names are imported when first used, so that the command line can answer before TensorFlow loads.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfcam import callbacks, images, losses, maps, methods, metrics, scenes, targets
    from tfcam.data.example import Example
    from tfcam.demo import demo_model
    from tfcam.evaluation.evaluate import evaluate
    from tfcam.evaluation.recommend import Recommendation, recommend
    from tfcam.evaluation.result import Evaluation
    from tfcam.explainer.compare import compare
    from tfcam.explainer.diagnose import diagnose
    from tfcam.explainer.explainer import Explainer
    from tfcam.feature_visualization import objectives, parametrisations, recipes, transforms
    from tfcam.feature_visualization.dream import dream
    from tfcam.feature_visualization.result import Dream
    from tfcam.front.explain import explain
    from tfcam.front.report import report
    from tfcam.methods import METHODS
    from tfcam.model.black_box import BlackBox
    from tfcam.model.listing import layers
    from tfcam.pages.app import app
    from tfcam.passes.reading import Reading
    from tfcam.representations.embedding import Embedding, embed
    from tfcam.representations.features import Features, features
    from tfcam.results.comparison import Comparison
    from tfcam.results.diagnosis import Diagnosis
    from tfcam.results.explanation import Explanation
    from tfcam.results.explanations import Explanations
    from tfcam.results.verification import Verification
    from tfcam.streaming.on_ray import stream_on_ray
    from tfcam.streaming.store import open_store
    from tfcam.streaming.stream import stream
    from tfcam.targets import Box, Difference, Regression, Segmentation, Similarity, Tag, Top
    from tfcam.verification.verify import verify

__version__ = "0.1.0"
__all__ = [
    "METHODS",
    "BlackBox",
    "Box",
    "Comparison",
    "Diagnosis",
    "Difference",
    "Dream",
    "Embedding",
    "Evaluation",
    "Example",
    "Explainer",
    "Explanation",
    "Explanations",
    "Features",
    "Reading",
    "Recommendation",
    "Regression",
    "Segmentation",
    "Similarity",
    "Tag",
    "Top",
    "Verification",
    "app",
    "callbacks",
    "compare",
    "demo_model",
    "diagnose",
    "dream",
    "embed",
    "evaluate",
    "explain",
    "features",
    "images",
    "layers",
    "losses",
    "maps",
    "methods",
    "metrics",
    "objectives",
    "open_store",
    "parametrisations",
    "recipes",
    "recommend",
    "report",
    "scenes",
    "stream",
    "stream_on_ray",
    "targets",
    "transforms",
    "verify",
]
# Where each name is defined; the other public names are modules.
_HOMES = {
    "METHODS": "methods",
    "BlackBox": "model.black_box",
    "Box": "targets",
    "Comparison": "results.comparison",
    "Diagnosis": "results.diagnosis",
    "Difference": "targets",
    "Dream": "feature_visualization.result",
    "Embedding": "representations.embedding",
    "Evaluation": "evaluation.result",
    "Example": "data.example",
    "Explainer": "explainer.explainer",
    "Explanation": "results.explanation",
    "Explanations": "results.explanations",
    "Features": "representations.features",
    "Reading": "passes.reading",
    "Recommendation": "evaluation.recommend",
    "Regression": "targets",
    "Segmentation": "targets",
    "Similarity": "targets",
    "Tag": "targets",
    "Top": "targets",
    "Verification": "results.verification",
    "app": "pages.app",
    "compare": "explainer.compare",
    "demo_model": "demo",
    "diagnose": "explainer.diagnose",
    "dream": "feature_visualization.dream",
    "embed": "representations.embedding",
    "evaluate": "evaluation.evaluate",
    "explain": "front.explain",
    "features": "representations.features",
    "layers": "model.listing",
    "open_store": "streaming.store",
    "recommend": "evaluation.recommend",
    "report": "front.report",
    "stream": "streaming.stream",
    "stream_on_ray": "streaming.on_ray",
    "verify": "verification.verify",
}
_MODULES = {
    "objectives": "feature_visualization.objectives",
    "parametrisations": "feature_visualization.parametrisations",
    "recipes": "feature_visualization.recipes",
    "transforms": "feature_visualization.transforms",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"tfcam.{_HOMES[name]}"), name)
    if name in __all__:
        return import_module(f"tfcam.{_MODULES.get(name, name)}")
    from tfcam.utils.suggestions import did_you_mean

    raise AttributeError(f"module 'tfcam' has no attribute {name!r}.{did_you_mean(name, __all__)}")


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__", "__doc__", "__name__", "__file__", "__path__"})
