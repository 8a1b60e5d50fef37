from dataclasses import dataclass
from typing import Any
@dataclass
class Dream:
    images: Any
    objective: str
    start: Any
    scores: Any
    chances: Any
    curve: Any
    seed: Any
    settings: Any
