"""Maps side by side: what the default layer leaves out of an ensemble, or of branches."""

from __future__ import annotations

from collections.abc import Sequence

from tfcam.model.call_graph import Call, CallGraph
from tfcam.model.dependence import before, dominates
from tfcam.model.layer_types import PASSING


def maps_beside(
    calls: CallGraph,
    tensor: str,
    asked: Sequence[str],
    maps: Sequence[Call],
    among: frozenset[str],
) -> list[Call]:
    """List the last maps on the ways to a score that pass a tensor by: of other networks, say.

    Maps that the tensor depends on, as where a block is passed by, and those that depend on it
    are none.

    Args:
        calls: What the model calls.
        tensor: What is explained.
        asked: The outputs that the score is computed from.
        maps: The calls that give a map, but for scores.
        among: The tensors that the score is computed from.
    """
    if dominates(calls, tensor, asked):
        return []
    made = {
        call.output or "": call
        for call in reversed(maps)
        if not isinstance(call.operation, PASSING)
    }
    after = before(calls, asked, made) & among
    last = {name for one in after for name in calls.parents.get(one, ()) if name in made} & among
    own = before(calls, [tensor])
    apart = {name: before(calls, [name]) for name in last - own}
    apart = {name: sources for name, sources in apart.items() if tensor not in sources}
    covered = {name for name in apart if any(name in apart[o] for o in apart if o != name)}
    return [made[name] for name in reversed(made) if name in apart and name not in covered]
