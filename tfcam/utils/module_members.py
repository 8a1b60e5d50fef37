"""Of users' modules what code names counts, and no more."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Collection, Iterator


class ModuleMembers:
    """Which members of modules are still to be read: those that code names, each once.

    Attributes:
        names: What the code that is being read names; it may be other code for the next value.

    Example:
        >>> import math
        >>> members = ModuleMembers()
        >>> with members.naming({"pi", "mine"}):
        ...     members.new_of(math), members.new_of(math)
        ({'pi'}, set())
    """

    def __init__(self) -> None:
        self.names: Collection[str] = ()
        # With each module, else another one could come to have its id.
        self._known: dict[int, tuple[types.ModuleType, set[str]]] = {}

    @contextlib.contextmanager
    def naming(self, names: Collection[str]) -> Iterator[None]:
        """Read code that names these."""
        before, self.names = self.names, names
        try:
            yield
        finally:
            self.names = before

    def new_of(self, module: types.ModuleType) -> set[str]:
        """Note what is named of a module: the names that were not yet."""
        _, known = self._known.setdefault(id(module), (module, set()))
        new = (vars(module).keys() & self.names) - known
        known |= new
        return new
