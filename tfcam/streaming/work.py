"""The work of a stream: what explains shards, what its maps depend on, and the loop over shards."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import keras
import numpy as np

from tfcam.data.example import OF_VOLUMES, Source
from tfcam.data.marks import check_same, marks
from tfcam.engine.runner import Compiled, Frozen, Replicated
from tfcam.engine.trust_options import check_verified
from tfcam.explainer.explainer import Explainer
from tfcam.explainer.pipeline import Pipeline
from tfcam.explainer.tiling import check_tiles
from tfcam.model.black_box import BlackBox
from tfcam.model.strings import tokenizer_of
from tfcam.preprocessing.names import split_window
from tfcam.streaming.shard_explainer import ShardExplainer
from tfcam.streaming.shards import Shards
from tfcam.streaming.text_explainer import TextExplainer
from tfcam.streaming.tile_explainer import TileExplainer
from tfcam.streaming.volume_explainer import VolumeExplainer
from tfcam.targets.callables import name_of
from tfcam.targets.classes import Target
from tfcam.targets.labels import asks_label
from tfcam.utils.digest import digest_arrays, digest_names
from tfcam.utils.digest_parts import digest_parts
from tfcam.utils.progress import progress_bar
from tfcam.utils.versions import versions

# Settings whose meaning is told in other words than the user's.
_TOLD_APART = ("layer", "method", "labels", "preprocess", "progress")


@dataclass(frozen=True)
class Work:
    """What is done by a stream, here or by an actor.

    Attributes:
        explainer: The model, prepared for shards.
        settings: All that its maps depend on, as JSON can hold it.
        digest: Digests what the user wrote, as it is now.
    """

    explainer: ShardExplainer
    settings: dict[str, Any]
    digest: Callable[[], dict[str, str | None]]


def prepare_work(
    model: keras.Model,
    source: Source,
    target: Target,
    options: dict[str, Any],
    shard_size: int,
    key: str | None = None,
    verify: bool = False,
) -> Work:
    """Prepare a model for the shards of a data set.

    Args:
        model: The model.
        source: The pictures.
        target: What is explained: a class, "label", a callable, or None for the predicted class.
        options: What an ``Explainer`` takes.
        shard_size: Number of pictures in a shard.
        key: What the user's own functions are told apart by; None for their code.
        verify: Whether each map is tested.

    Raises:
        TypeError: If there are several targets.
        ValueError: If something does not fit the model.
    """
    # The source has read the pictures with it.
    window, preprocess = split_window(given := options["preprocess"])
    strategy = getattr(model, "distribute_strategy", None)
    replicas = getattr(strategy, "num_replicas_in_sync", 1)
    # Replicas hold variables of their own, and a black box none.
    freeze = options["freeze"] and replicas == 1 and not isinstance(model, BlackBox)
    options = options | {"freeze": freeze, "preprocess": preprocess}
    pipeline = Explainer(model, **options).pipeline
    tile: tuple[int, int] | None = options.get("tile")
    if tile is not None:
        check_verified(verify, tile)
        check_tiles(pipeline.opened, [target])
    of_volumes = source.unit in OF_VOLUMES
    of_text = source.unit is not None and not of_volumes
    if not of_text:
        pipeline.opened.graph.check_one_image("stream", volumes=True)
    elif verify and not isinstance(target, str | int | np.integer | None):
        raise ValueError(
            "verify=True tests of texts whether a class needs their words; the target "
            f"is {_target_in_words(target)!r}. Leave verify out."
        )
    if options["batch_size"] % replicas:
        raise ValueError(
            f"batch_size must be a multiple of the {replicas} replicas that share a batch; "
            f"got {options['batch_size']}."
        )
    runner = Replicated(strategy) if replicas > 1 else Frozen() if options["freeze"] else Compiled()
    if isinstance(target, list | tuple):
        raise TypeError(
            "target is one for all pictures, or 'label' for each picture's own; got a "
            f"{type(target).__name__}."
        )
    # Refused before any picture is read.
    targets = [] if asks_label(target) else pipeline.targets(target, 1)
    pipeline = pipeline.run_by(runner, targets)
    if len(pipeline.engine.layers) > 1:
        raise ValueError(
            "A store holds one map of each picture, as the layer has it; got "
            f"{len(pipeline.engine.layers)} layers. Run stream once for each."
        )
    whole = TextExplainer if of_text else VolumeExplainer if of_volumes else ShardExplainer
    explains = whole if tile is None else TileExplainer
    explainer = explains(pipeline, source, target, options["batch_size"], shard_size, verify)
    request = pipeline.engine.requests[0]
    digest = partial(
        digest_parts,
        key,
        method=(request.method.function, MappingProxyType(request.options)),
        preprocess=given,
        target=target,
    )
    told: dict[str, Any] = {"key": key, **digest_parts(key, model=model), **digest()}
    if window is not None:
        told |= {"picture_window": [*window]}
    if of_volumes and (form := pipeline.opened.input.form):
        told |= {"unit": source.unit, "volume": form.described}
    elif of_text:
        told |= {"unit": source.unit, "vocabulary_digest": _vocabulary(pipeline)}
    return Work(explainer, _settings(explainer, options) | told, digest)


def _settings(explainer: ShardExplainer, options: dict[str, Any]) -> dict[str, Any]:
    """List all that the maps depend on."""
    pipeline, source = explainer.pipeline, explainer.source
    model, labels, request = pipeline.model, pipeline.labels, pipeline.engine.requests[0]
    usual = inspect.signature(Explainer).parameters.items()
    chosen = {
        name: parameter.default
        for name, parameter in usual
        if parameter.default is not parameter.empty
    } | options
    others = {name: _plain(value) for name, value in chosen.items() if name not in _TOLD_APART}
    return {
        "model": model.name,
        "weights_digest": digest_arrays(*(np.asarray(weight) for weight in model.variables)),
        "data": source.name,
        "place": source.place,
        "pictures": source.count,
        "pictures_digest": source.key,
        "method": request.method.name,
        "layer": pipeline.layer,
        "shown": request.shown,
        "target": _target_in_words(explainer.target),
        "labels_digest": None if labels is None else digest_names(labels),
        "preprocessing": _preprocessing(pipeline),
        **others,
        "shard_size": explainer.shard_size,
        **({"verify": True} if explainer.verify else {}),
        "versions": versions(),
    }


def take_up(store: Shards, source: Source, progress: bool | None) -> None:
    """Take up what a store holds: what is damaged is left to do, the rest of the same pictures.

    Args:
        store: The store.
        source: The pictures.
        progress: Whether a bar is shown.

    Raises:
        ValueError: If the data give other pictures than those that are done.
    """
    store.mend(source.count)
    done = store.done()
    if not done:
        return
    kept = (row for n in done for row in store.kept(n, source.count, last=n == done[-1]))
    rows, ahead = itertools.tee(kept)
    places: Iterator[int] = (row.number for row in ahead)
    if ended := store.finished and source.count is None:
        places = itertools.chain(places, [sum(store.counts().values())])
    now = marks(source, places)
    unit = f"{source.kind}s"
    with progress_bar(source.count, "comparing", progress, unit) as advance:
        for row in rows:
            check_same(row.number, row.key, row.mark, next(now, None), unit)
            advance()
        if ended and next(now, None) is not None:
            raise ValueError(
                f"The data must be those that were explained; {source.name} holds more. Begin anew "
                "in another folder."
            )


def explain_shards(
    explainer: ShardExplainer,
    store: Shards,
    shards: Iterable[int],
    advance: Callable[[int], object] = lambda count: None,
) -> None:
    """Explain shards and write them.

    Args:
        explainer: The model, prepared for shards.
        store: The store that they are written to.
        shards: Numbers of the shards, rising.
        advance: Told how many pictures are done, batch by batch.
    """
    batches = explainer.batches(shards)
    try:
        for shard, group in itertools.groupby(batches, key=lambda batch: batch.shard):
            with store.shard(shard) as writer:
                for batch in group:
                    writer.add(batch.results())
                    writer.skipped += batch.skipped
                    advance(len(batch.reads) + len(batch.skipped))
    finally:
        batches.close()


def left(store: Shards, source: Source) -> Iterator[int]:
    """List the shards that are left; without end where it is not known how many there are."""
    done = set(store.done())
    count = None if source.count is None else -(-source.count // store.size)
    shards = itertools.count() if count is None else iter(range(count))
    return (shard for shard in shards if shard not in done)


def _preprocessing(pipeline: Pipeline) -> str:
    """Say what is done to pictures."""
    try:
        return pipeline.preprocessing.description
    except ValueError:
        if pipeline.preprocess != "auto":
            raise
        return "auto"  # fine where arrays are given prepared; told with the first picture else


def _vocabulary(pipeline: Pipeline) -> str | None:
    """Digest the words that a model knows, which no weight tells; None where it has none."""
    behind = pipeline.opened.input.behind
    holder = tokenizer_of(pipeline.model) if behind is None else behind.layer()
    words = getattr(holder, "get_vocabulary", None)
    return None if words is None else digest_names(list(map(str, words())))


def _target_in_words(target: Target) -> Any:
    if target is None:
        return "the predicted class"
    if asks_label(target):
        return "each picture's label"
    return name_of(target) if callable(target) else _plain(target)


def _plain(value: Any) -> Any:
    """Turn a setting into what JSON can hold."""
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, bool | int | float | str | None) else repr(value)
