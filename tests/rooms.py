"""The rooms of the house, and what imports what: ``python -m tests.rooms`` draws the table.

``FLOORS`` is the whole plan: a room imports only from lower floors. A new file in a room needs no
entry anywhere.
"""

import ast
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "tfcam"
FILES = sorted(PACKAGE.rglob("*.py"))
# From the roof to the ground: a room is a folder, or a file that lies in tfcam/ itself.
FLOORS = (
    ("__main__",),
    ("cli", "__init__"),
    ("pages",),
    ("callbacks", "evaluation", "front"),
    ("streaming", "verification"),
    ("metrics",),
    ("explainer", "feature_visualization", "losses", "representations"),
    ("engine",),
    ("methods",),
    ("passes", "preprocessing", "results"),
    ("figures", "model"),
    ("data", "maps", "targets"),
    ("demo", "findings", "images", "scenes"),
    ("utils",),
)
FLOOR = {room: -number for number, rooms in enumerate(FLOORS) for room in rooms}


def module_name(path):
    """ "metrics/complexity.py" is "metrics.complexity"; a room's face is the room."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def imports(path):
    """What a file imports of tfcam, wherever it does: pairs of a module and a name of it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            package, _, inner = node.module.partition(".")
            if package == "tfcam":
                found += [(inner, alias.name) for alias in node.names]
            elif package in ("training", "tests"):
                found += [(package, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [
                (alias.name.removeprefix("tfcam."), "")
                for alias in node.names
                if alias.name.startswith("tfcam.")
            ]
    return found


def imported_modules(path):
    """The modules of tfcam that a file imports."""
    names = set()
    for module, name in imports(path):
        inner = f"{module}.{name}".strip(".")
        names.add(inner if inner in MODULES else module)
    return names - {""}


def room_of(module):
    """The room that a module stands in."""
    return module.split(".")[0]


def imports_by_room():
    """How often each room imports a module of another room: a count for each pair."""
    counts = Counter()
    for name, path in MODULES.items():
        for other in imported_modules(path):
            if room_of(other) != room_of(name):
                counts[room_of(name), room_of(other)] += 1
    return counts


def table():
    """The counts as a table, from the roof to the ground: nothing stands left of its own room."""
    rooms = [room for floor in FLOORS for room in floor if not room.startswith("__")]
    counts, wide = imports_by_room(), max(map(len, rooms))
    lines = [
        "A row imports a column, in so many places.",
        " " * wide + "".join(f" {room[:5]:>5}" for room in rooms),
    ]
    for room in rooms:
        cells = (counts[room, other] or ("." if other != room else "#") for other in rooms)
        lines.append(f"{room:{wide}}" + "".join(f" {cell:>5}" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
