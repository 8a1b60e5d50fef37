"""Which door takes which of the shared options."""

from __future__ import annotations

from tfcam.engine.option import Option
from tfcam.engine.options import (
    ANNOTATIONS,
    AUGMENT,
    BATCH_SIZE,
    CANDIDATE_LAYERS,
    DATA_DIR,
    EIGEN,
    FREEZE,
    FREEZE_PROBE,
    FROZEN,
    FUSE,
    GRID,
    INPUT,
    LABELS,
    LAYER,
    LAYERS,
    LAYERS_APART,
    LAYERS_FUSED,
    METHOD,
    METHOD_OR_DEFAULT,
    METHODS,
    METHODS_OF_SANITY,
    METRICS,
    METRICS_OF_CHOICE,
    OUTPUT,
    PREPROCESS,
    PROGRESS,
    SCORE,
    SEED,
    SHARD_SIZE,
    SPLIT,
    TARGET,
    TARGET_OF_DATA,
    TARGETS,
    TARGETS_COMPARED,
    TARGETS_OF_BATCH,
    WORDS,
)
from tfcam.engine.picture_options import TILE
from tfcam.engine.store_options import KEEP, KEY, STORE
from tfcam.engine.trust_options import METHODS_OF_REPORT, VERIFY, VERIFY_ROWS

_READ = (PREPROCESS, LABELS)
_DATA = (SPLIT, DATA_DIR, ANNOTATIONS)
_LOOK = (SCORE, INPUT, OUTPUT, GRID, *_READ)
_HOW = (FUSE, AUGMENT, EIGEN, BATCH_SIZE)
_MAPS = (*_LOOK, METHOD_OR_DEFAULT, *_HOW)
_MEASURED = (TARGET_OF_DATA, *_LOOK, METHODS, *_DATA, BATCH_SIZE, TILE, KEEP, KEY, SEED, PROGRESS)
_RUN = (BATCH_SIZE, SHARD_SIZE, FROZEN, STORE, KEY, PROGRESS)
_MADE = (METHOD_OR_DEFAULT, AUGMENT, EIGEN, TILE, VERIFY_ROWS)
_STREAMED = (LAYER, TARGET_OF_DATA, SCORE, OUTPUT, GRID, *_MADE)
_CHECKED = (LAYERS_FUSED, METHODS_OF_SANITY, SCORE, OUTPUT, GRID, PREPROCESS, BATCH_SIZE, PROGRESS)

DOORS: dict[str, tuple[Option, ...]] = {
    "explain": (LAYERS_FUSED, TARGETS, WORDS, *_MAPS, TILE, VERIFY, PROGRESS),
    "Explainer": (LAYERS_FUSED, *_MAPS, TILE, FREEZE, PROGRESS),
    "Explainer.__call__": (TARGETS, WORDS),
    "Explainer.export": (TARGET,),
    "compare": (LAYERS, TARGETS_COMPARED, *_LOOK, METHODS, BATCH_SIZE, TILE, PROGRESS),
    "report": (CANDIDATE_LAYERS, METHODS_OF_REPORT, TARGET, *_LOOK, BATCH_SIZE, TILE, PROGRESS),
    "diagnose": (LAYER, TARGET, *_LOOK, TILE),
    "layers": (INPUT, OUTPUT, GRID),
    "evaluate": (LAYERS_APART, METRICS, *_MEASURED),
    "recommend": (CANDIDATE_LAYERS, METRICS_OF_CHOICE, *_MEASURED),
    "stream": (*_STREAMED, *_READ, *_DATA, *_RUN),
    "app": (OUTPUT, *_READ),
    "BlackBox": (LABELS, BATCH_SIZE),
    "BlackBox.from_saved_model": (OUTPUT,),
    "BlackBox.from_onnx": (OUTPUT,),
    "stream_on_ray": (*_STREAMED, *_READ, *_DATA, *_RUN),
    "features": (LAYER, INPUT, GRID, PREPROCESS),
    "embed": (LAYERS_APART, OUTPUT, GRID, *_READ, *_DATA, BATCH_SIZE, SEED, PROGRESS),
    "dream": (OUTPUT, *_READ, SEED, PROGRESS),
    "verify": (TARGET, INPUT, OUTPUT, *_READ, BATCH_SIZE, SEED, PROGRESS),
    "Probe": (TARGETS_OF_BATCH, INPUT, OUTPUT, *_READ, BATCH_SIZE, FREEZE_PROBE),
    "randomisation": (*_CHECKED, INPUT, SEED),
    "class_sensitivity": _CHECKED,
    "input_sensitivity": (*_CHECKED, SEED),
    "max_sensitivity": (SEED,),
    "ExplainCallback": (LAYERS_FUSED, TARGETS_OF_BATCH, *_MAPS),
    "AttentionLoss": (LAYERS_FUSED, METHOD, OUTPUT, GRID),
}
