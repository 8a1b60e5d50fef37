"""What runs: layers, methods and targets of a model in one pass; eager at first, then compiled."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcam.engine.beside import bias_attributions, class_values, weights_of_class
from tfcam.engine.lengths import OpenLengths
from tfcam.engine.parts import in_parts
from tfcam.engine.runner import Runner, Tensor, traced
from tfcam.engine.settings import Computed, PassMaps, Settings, TargetMaps
from tfcam.maps.tensors import first_component
from tfcam.methods.bias_terms import bias_taps
from tfcam.methods.contract import MethodMap, check_question, checked_map
from tfcam.methods.registry import Request, is_own
from tfcam.model.endings import BOUNDED
from tfcam.model.graph import ModelGraph
from tfcam.model.heads import Head
from tfcam.model.placement import Placement
from tfcam.model.taps import Place
from tfcam.passes.guided_relu import Gates
from tfcam.passes.network import ExplainedNetwork
from tfcam.passes.outputs import TensorTarget
from tfcam.passes.reading import Need, Reading, Words
from tfcam.passes.requirements import check_whole
from tfcam.passes.submodel import Answer, SubModel
from tfcam.targets.callables import changed, target_key
from tfcam.targets.classes import Top, class_index
from tfcam.targets.resolve import ResolvedTarget
from tfcam.targets.similarity import Similarity
from tfcam.targets.two_classes import NUMBER


class Engine:
    """Computes the maps of some layers of a model by some methods.

    Args:
        graph: What is known of the model.
        places: The layers, and why these.
        requests: The methods; those with a contrast stand alone.
        settings: How scores and maps are made.
        which: The index of the explained input.
        heads: For each place the linear head that pools it, where a method makes use of that.
        runner: How it is run.
    """

    def __init__(
        self,
        graph: ModelGraph,
        places: Sequence[Place],
        requests: Sequence[Request],
        settings: Settings,
        which: int,
        heads: Sequence[Head | None],
        runner: Runner,
    ) -> None:
        self.settings, self.requests, self.runner = settings, tuple(requests), runner
        taps = [place.tap for place in places]
        self.layers: list[str] = [tap.name for tap in taps]
        self.reasons = [place.reason for place in places]
        self.others = [place.others for place in places]
        for request in requests:
            if settings.eigen and not request.method.combines:
                raise ValueError(
                    f"eigen=True combines channels in another way, and {request.method.name!r} "
                    "combines none; leave it out."
                )
        self.needs = functools.reduce(
            operator.or_, (request.method.needs for request in requests), Need.NOTHING
        )
        self.submodel = SubModel(graph, taps, settings.score, settings.output, which)
        self._heads = tuple(heads)
        self._input = graph.inputs[which].name if len(graph.inputs) > 1 else None
        self._biased: SubModel | None = None
        if Need.BIAS_ATTRIBUTIONS in self.needs:
            if settings.score != "logit":
                raise ValueError("full_grad explains the logit; score='probability' is not linear.")
            taps = bias_taps(graph)
            self._biased = SubModel(graph, taps, output=settings.output, heads=True)
        self._has_logits = self._is_unit = False
        self.gates, self._changing = Gates(), set[int]()
        self._lengths = OpenLengths(self.submodel)

    def options(self, request: Request) -> dict[str, Any]:
        """List what a result says of how it was computed."""
        options: dict[str, Any] = {"score": self.settings.score, **request.told}
        settings = self.settings
        settled = {"input": self._input, "output": settings.output, "grid": settings.grid}
        options |= {name: value for name, value in settled.items() if value is not None}
        options |= {name: True for name in ("eigen", "freeze") if getattr(settings, name)}
        if request.method.gates_relus:
            options["gated_activations"] = self.gates.gated
        return options

    def __call__(
        self,
        inputs: np.ndarray,
        targets: Sequence[ResolvedTarget],
        others: Sequence[np.ndarray] = (),
        owners: np.ndarray | None = None,
        blank: int | None = None,
    ) -> list[Computed]:
        """Compute the maps of a batch for each target.

        Args:
            inputs: (B, h, w, C), what the model takes.
            others: Its other inputs, (B, ...) each, in their flat order.
            targets: Each (B, 2) int32 pairs of classes, a callable outputs -> (B,), or, for one
                image, a ``Top``.
            owners: Of texts, (B, L) int32: which word each number is of, -1 where it is of none.
            blank: Of texts, the number that stands for nothing; by default what the input says.
        """
        if not tf.executing_eagerly():
            raise ValueError(
                "Explaining needs values, which there are none inside a tf.function: call explain "
                "outside of it. What runs is compiled by itself from the second call on."
            )
        for request in self.requests:
            check_question(request.method, inputs, targets)
        return in_parts(lambda some: self._answer(inputs, some, others, owners, blank), targets)

    def _answer(
        self,
        inputs: np.ndarray,
        targets: Sequence[ResolvedTarget],
        others: Sequence[np.ndarray],
        owners: np.ndarray | None,
        blank: int | None,
    ) -> list[Computed]:
        """Compute the maps for some targets in one pass."""
        fixed = tuple(None if isinstance(target, np.ndarray) else target for target in targets)
        arrays = [target for target in targets if isinstance(target, np.ndarray)]
        taken, texts, most = 1 + len(others), *self._words(owners, targets, blank)
        tensors = [tf.convert_to_tensor(inputs), *map(tf.constant, (*others, *texts, *arrays))]
        asked = (*fixed, *(value for request in self.requests for value in request.own))
        keys = list(map(target_key, asked))

        def function(images: tf.Tensor, *rest: tf.Tensor) -> PassMaps:
            of_words, left = rest[taken - 1 : taken - 1 + len(texts)], iter(rest[-len(arrays) :])
            chosen = [next(left) if target is None else target for target in fixed]
            words = Words(*(*of_words, most)[:3]) if texts else None
            submodel = self.submodel.beside(rest[: taken - 1])
            maps = self.compute(submodel, images, chosen, words)
            return maps if None in images.shape else maps._replace(outputs=())

        def maps_of(specs: Sequence[Tensor]) -> tuple[PassMaps, Sequence[tf.Tensor]]:
            # What changes while it is asked is asked anew: compiled once, it would not change.
            changing = not self._changing.isdisjoint(map(id, asked))
            kinds = ((tuple(spec.shape), spec.dtype) for spec in specs)
            key = None if changing else (*kinds, *keys, most)
            run = self.runner(key, function, specs)
            maps = run(*tensors)
            self._changing |= changed(asked, keys)
            if run is function and self.settings.score == "logit" and maps.hide_logits:
                # Keras left no note of the logits: a traced graph can be walked back to them.
                compiled = traced if changing else functools.partial(self.runner, key)
                maps = compiled(function, specs)(*tensors)
            return maps, maps.outputs

        if self._any_length(fixed):
            maps = self._lengths.run(maps_of, tensors, taken, bool(texts))
        else:
            maps, _ = maps_of(tensors)
        answers: list[TargetMaps]
        answers, values = keras.tree.map_structure(
            lambda tensor: None if tensor is None else tensor.numpy(), maps[:2]
        )
        if values is not None:  # on a GPU, the score of a class that there is not would be 0
            most = max(int(answer.pairs.max(initial=0)) for answer in answers)
            class_index(most, values.shape[1], None)
        kinds = [self._kind(values, answer.pairs, maps.hide_logits) for answer in answers]
        return [
            Computed(*answer, values, kind) for answer, kind in zip(answers, kinds, strict=True)
        ]

    def placement(self, place: int, sides: Sequence[int]) -> Placement | str | None:
        """Find how the cells of one of its layers lie in the image, as ``ModelGraph`` does."""
        submodel = self.submodel
        if not submodel.taps:
            return None
        return submodel.graph.placement(submodel.taps[place], tuple(sides), submodel.which)

    def _words(
        self, owners: np.ndarray | None, targets: Sequence[ResolvedTarget], blank: int | None
    ) -> tuple[list[np.ndarray], int | None]:
        """Which words numbers are of, and the most words of a text where methods hide them.

        Returns:
            Arrays that may differ from call to call: the words, what stands for none, and how many
            there are at most, where a method hides them one by one; else that number, for which it
            is compiled.
            A callable target sees so many batches of outputs.
        """
        if owners is None:
            return [], None
        most = int(owners.max(initial=0)) + 1
        own = self.submodel.graph.inputs[self.submodel.which].blank
        arrays = [owners, np.array(own if blank is None else blank, np.int32)]
        one_by_one = all(request.method.one_by_one for request in self.requests)
        if one_by_one and not any(map(callable, targets)):
            return [*arrays, np.array(most, np.int32)], None
        return arrays, most if Need.SCORES in self.needs else None

    def _any_length(self, targets: Sequence[Any]) -> bool:
        """Whether methods and targets are the same for texts of any length: a user's may not be."""
        methods = [request.method for request in self.requests]
        return all(method.any_length and is_own(method.function) for method in methods) and all(
            isinstance(target, Top | Similarity | None) for target in targets
        )

    def compute(
        self,
        submodel: SubModel,
        images: tf.Tensor,
        targets: Sequence[TensorTarget | Top],
        words: Words | None = None,
    ) -> PassMaps:
        """Compute the maps of a batch for each target, as tensors: what is traced.

        Args:
            submodel: The engine's, beside the values of the inputs that are not explained.
            images: (B, h, w, C), what the model takes.
            targets: As in a call, but with tensors in place of arrays.
            words: Of texts, which word each number is of.
        """
        contrasts = [
            functools.partial(request.method.contrast, **request.options)
            for request in self.requests
            if request.method.contrast is not None
        ]
        single_pass = submodel.read_each(images, targets, self.needs, *contrasts)
        self._has_logits = single_pass.outputs.has_logits
        self._is_unit = single_pass.outputs.is_unit
        self.gates = single_pass.gates
        answers = []
        for answer in single_pass.answers:
            shared = self._shared(images, answer)
            asked_again = (submodel, images, answer.target, self.settings.at_once)
            networks = [
                ExplainedNetwork(*asked_again, place, tapped, words)
                for place, tapped in enumerate(single_pass.tapped or [None])
            ]
            readings = [
                self._filled(reading, network, answer, shared)
                for reading, network in zip(answer.readings, networks, strict=True)
            ]
            answers.append(self._mapped(readings, answer, images))
        outputs = single_pass.outputs
        leaves = tf.nest.flatten(outputs.values)
        return PassMaps(answers, class_values(outputs), outputs.hide_logits, leaves)

    def _shared(self, images: tf.Tensor, answer: Answer) -> dict[str, Any]:
        """Read what methods need besides that is the same at every layer."""
        shared: dict[str, Any] = {"principal": self.settings.eigen}
        if self._biased is not None:
            shared |= bias_attributions(self._biased, images, answer.target)
        return shared

    def _filled(
        self, reading: Reading, network: ExplainedNetwork, answer: Answer, shared: dict[str, Any]
    ) -> Reading:
        """Fill a reading with all that the methods need."""
        head = self._heads[network.tap] if self._heads else None
        if head is not None and not callable(answer.target):
            weights, _ = head.weights(reading.activations.shape[-1])
            shared = shared | {"class_weights": weights_of_class(weights, answer)}
        placement = self.placement(network.tap, network.images.shape[1:-1])
        if isinstance(placement, Placement):
            shared = shared | {"placement": placement}
        return replace(reading, network=network, **shared)

    def _mapped(self, readings: Sequence[Reading], answer: Answer, images: tf.Tensor) -> TargetMaps:
        """Map every reading by every method."""
        raws, measured = [], []
        for request in self.requests:
            places = readings if request.method.layered else readings[:1]
            if request.method.layered:
                check_whole(self.layers, [r.activations for r in readings], images.shape[0])
            method_maps = [self._map(request, reading, images) for reading in places]
            raws.append([method_map.raw for method_map in method_maps])
            measured.append([method_map.measured for method_map in method_maps])
        about = readings[0].scores, answer.pairs, answer.weights, tf.constant(answer.blind)
        return TargetMaps(raws, measured, *about)

    def _map(self, request: Request, reading: Reading, images: tf.Tensor) -> MethodMap:
        returned = request.method(reading, **request.options)
        method_map = checked_map(returned, request.method, images)
        if reading.placement is not None and not request.method.pixels:
            laid = reading.placement.carry_back(method_map.raw, images.shape[1:-1])
            return method_map._replace(raw=laid)
        of_values = request.method.pixels and method_map.raw.shape.rank == images.shape.rank
        if self.settings.eigen and of_values:
            towards = tf.reduce_sum(method_map.raw, axis=-1)
            return method_map._replace(raw=first_component(method_map.raw, towards=towards))
        return method_map

    def _kind(self, values: np.ndarray | None, pairs: np.ndarray, hidden: tf.Tensor) -> str:
        if self._has_logits:
            return "logit"
        ending, asked = self.submodel.ending, self.settings.score == "probability"
        if values is None or (pairs[:, 0] == NUMBER).any():
            return "output"
        if self._is_unit:
            return "probability" if asked or ending == "probability" or hidden else "logit"
        if ending is not None:
            return "probability" if ending in BOUNDED else "output"
        within = bool((values >= 0).all() and (values <= 1).all())
        if asked:
            return "probability" if within else "output"
        sums = values.shape[1] > 1 and np.allclose(values.sum(axis=1), 1, atol=1e-3)
        return "probability" if within and sums else "output"
