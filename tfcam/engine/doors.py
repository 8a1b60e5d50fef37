"""Which door takes which of the shared options."""

from __future__ import annotations

from tfcam.engine.option import Option
from tfcam.engine.options import (
    ANNOTATIONS,
    AUGMENT,
    BATCH_SIZE,
    CANDIDATE_LAYERS,
    CLASS_OF_DATA,
    DATA_DIR,
    EIGEN,
    FREEZE,
    FUSE,
    GRID,
    INPUT,
    KEEP,
    LABELS,
    LAYER,
    LAYERS,
    LAYERS_APART,
    LAYERS_FUSED,
    METHOD,
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
    STORE,
    TARGET,
    TARGET_OF_DATA,
    TARGETS,
    TARGETS_COMPARED,
    TARGETS_OF_BATCH,
    WORDS,
)

_PLACE = (INPUT, OUTPUT, GRID)
_READ = (PREPROCESS, LABELS)
_MAP = (FUSE, AUGMENT, EIGEN)
_DATA = (SPLIT, DATA_DIR)
_MEASURED = (METHODS, CLASS_OF_DATA, OUTPUT, *_READ, *_DATA, BATCH_SIZE, KEEP, SEED, PROGRESS)

DOORS: dict[str, tuple[Option, ...]] = {
    "explain": (
        *(LAYERS_FUSED, TARGETS, WORDS, SCORE, *_PLACE, METHOD, *_MAP),
        *(*_READ, BATCH_SIZE, PROGRESS),
    ),
    "Explainer": (
        *(LAYERS_FUSED, SCORE, *_PLACE, METHOD, *_MAP),
        *(*_READ, BATCH_SIZE, FREEZE, PROGRESS),
    ),
    "Explainer.__call__": (TARGETS, WORDS),
    "Explainer.export": (TARGET,),
    "compare": (
        *(LAYERS, TARGETS_COMPARED, SCORE, *_PLACE, METHODS),
        *(*_READ, BATCH_SIZE, PROGRESS),
    ),
    "diagnose": (LAYER, TARGET, SCORE, *_PLACE, *_READ),
    "evaluate": (LAYERS_APART, SCORE, INPUT, METRICS, ANNOTATIONS, *_MEASURED),
    "recommend": (CANDIDATE_LAYERS, METRICS_OF_CHOICE, *_MEASURED),
    "stream": (
        *(LAYER, TARGET_OF_DATA, SCORE, OUTPUT, METHOD),
        *(*_READ, *_DATA, ANNOTATIONS, BATCH_SIZE, SHARD_SIZE, STORE, PROGRESS),
    ),
    "stream_on_ray": (TARGET_OF_DATA, SHARD_SIZE, STORE, PROGRESS),
    "features": (LAYER, INPUT, GRID, PREPROCESS),
    "embed": (LAYERS_APART, GRID, *_READ, *_DATA, BATCH_SIZE, SEED),
    "dream": (OUTPUT, *_READ, SEED, PROGRESS),
    "Probe": (TARGETS_OF_BATCH, INPUT, OUTPUT, *_READ, BATCH_SIZE),
    "randomisation": (LAYERS_FUSED, METHODS_OF_SANITY, PREPROCESS, BATCH_SIZE, SEED),
    "class_sensitivity": (LAYERS_FUSED, METHODS_OF_SANITY, PREPROCESS, BATCH_SIZE),
    "input_sensitivity": (LAYERS_FUSED, METHODS_OF_SANITY, PREPROCESS, BATCH_SIZE, SEED),
    "max_sensitivity": (SEED,),
    "ExplainCallback": (LAYERS_FUSED, TARGETS_OF_BATCH, METHOD),
    "AttentionLoss": (LAYERS_FUSED, METHOD),
}
