"""What each press, drop and slide on the page does: pure functions, that know of no browser.

A change of the page is a dict of the names of its parts and what they become: a value, or a dict of
properties such as ``{"visible": False}``.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tfcam.pages import looking, showing
from tfcam.pages.networks import Network, example

Changes = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Session:
    """What one visitor looks at; nobody else sees it."""

    subject: looking.Subject | None = None
    answers: tuple[looking.Answer, ...] = ()
    look: looking.Look | None = None


def parts_of(network: Network) -> Changes:
    """What the parts that depend on a network are, before it is asked."""
    last = len(network.places) - 1
    steps = {"maximum": max(last, 1), "value": network.usual_place, "visible": last > 0}
    return {
        "file": {"visible": not network.is_text, "value": None},
        "example": {"visible": network.is_embedded},
        "text": {"visible": network.is_text},
        "read": {"visible": network.is_text},
        "way": {
            "choices": [*network.ways],
            "value": network.ways[0],
            "visible": not network.is_text,
        },
        "methods": {"choices": [*network.methods], "value": [network.methods[0]]},
        "layer": steps,
        "layer_name": _layer_name(network, network.usual_place),
    }


@dataclass(frozen=True)
class Visits:
    """What visitors may do; what each of them looks at is in the session that they hand in.

    Attributes:
        networks: The networks, by name.
    """

    networks: Mapping[str, Network]

    def network(self, name: str, way: str) -> Network:
        """Find a network, with its pictures prepared in a way."""
        network = self.networks[name]
        return network if way == network.ways[0] else replace(network, preprocess=way)

    def switch(self, name: str) -> Changes:
        """Choose another network."""
        cleared = {"session": Session(), "answers": "", "classes": {"choices": [], "value": []}}
        return {**_emptied(), **cleared, **parts_of(self.networks[name])}

    def upload(self, name: str, way: str, file: str | None, form: str, alpha: float) -> Changes:
        """Take a picture, or say why it can't be used; the place to drop one is free again."""
        if file is None:
            return {}

        def begin(path: Path) -> Changes:
            subject = looking.read_picture(path.read_bytes(), path.name)
            return self._begin(name, way, subject, form, alpha)

        return {"file": None, **telling(begin)(Path(file))}

    def prepare(self, session: Session, name: str, way: str, form: str, alpha: float) -> Changes:
        """Prepare the same picture in another way."""
        if session.subject is None:
            return {}
        return self._begin(name, way, session.subject, form, alpha)

    def draw_example(
        self, session: Session, name: str, way: str, form: str, alpha: float
    ) -> Changes:
        """Take the next picture that the embedded network knows."""
        before = session.subject.name if session.subject else ""
        digits = before.removeprefix("scene_").removesuffix(".png")
        number = int(digits) + 1 if digits.isdecimal() else 1
        subject = looking.Subject(example(number), f"scene_{number}.png")
        return self._begin(name, way, subject, form, alpha)

    def read(self, name: str, way: str, text: str, form: str, alpha: float) -> Changes:
        """Take a text.

        Raises:
            ValueError: If it is none that can be used.
        """
        return self._begin(name, way, looking.read_text(text), form, alpha)

    def slide(
        self, session: Session, name: str, way: str, classes: Any, place: int, *more: Any
    ) -> Changes:
        """Choose another layer: its name, and its maps where there are maps already."""
        named = {"layer_name": _layer_name(self.networks[name], int(place))}
        if session.look is None or session.look.choice.place == int(place):
            return named
        return {**named, **self.explain(session, name, way, classes, place, *more)}

    def explain(
        self,
        session: Session,
        name: str,
        way: str,
        classes: Sequence[int],
        place: int,
        methods: Sequence[str],
        form: str,
        alpha: float,
    ) -> Changes:
        """Make the maps that are chosen.

        Raises:
            ValueError: If nothing is given yet, or chosen.
        """
        network = self.network(name, way)
        if session.subject is None:
            raise ValueError(
                f"{'Write a text' if network.is_text else 'Drop a picture'} first: there is none."
            )
        targets = tuple(session.answers[number].target for number in sorted(classes))
        choice = looking.Choice(targets, int(place), tuple(methods))
        found = looking.look(network, session.subject, choice)
        made = [] if found.comparison is None else [*found.comparison]
        maps = [(one.title.replace("\n", ", "), number) for number, one in enumerate(made)]
        which = {"choices": maps, "value": 0 if maps else None}
        return {
            **_emptied(),
            **_styled(found, showing.Style(form, alpha)),
            "session": replace(session, look=found),
            "layer": int(place),
            "layer_name": _layer_name(network, int(place)),
            "words": showing.show_words(found),
            "which": {**which, "visible": len(maps) > 1},
            "verify": {"visible": bool(maps)},
            "downloads": {"visible": bool(maps)},
            "download_HTML": {"visible": bool(maps) and not network.is_text},
            "message": said(f"{len(maps)} {'map' if len(maps) == 1 else 'maps'} made."),
        }

    def restyle(self, session: Session, form: str, alpha: float) -> Changes:
        """Draw the same maps in another way."""
        if session.look is None or session.look.comparison is None:
            return {}
        return _styled(session.look, showing.Style(form, alpha))

    def verify(self, session: Session, which: int | None) -> Changes:
        """Ask how far a map can be trusted.

        Raises:
            ValueError: If there is none.
        """
        if session.look is None:
            raise ValueError(looking.NO_MAP)
        row, column = divmod(which or 0, len(session.look.choice.targets))
        shown = showing.show_verification(looking.verify_map(session.look, row, column))
        return {"verified": shown, "message": said("The map is verified.")}

    def download(self, what: str, session: Session, form: str, alpha: float) -> Changes:
        """Make a file.

        Raises:
            ValueError: If there is no map.
        """
        if session.look is None:
            raise ValueError(looking.NO_MAP)
        made = showing.make_download(what, session.look, showing.Style(form, alpha))
        return {"name": made.name, "url": made.url, "message": said(f"{made.name} is made.")}

    def _begin(
        self, name: str, way: str, subject: looking.Subject, form: str, alpha: float
    ) -> Changes:
        """Ask what the network says, and explain the first answer by the usual method."""
        network = self.network(name, way)
        found = looking.answers(network, subject)
        choices = [(answer.words, number) for number, answer in enumerate(found)]
        methods = [*network.methods[:1]]
        asked = ([0], network.usual_place, methods, form, alpha)
        return {
            "answers": showing.show_answers(found, subject),
            "classes": {"choices": choices, "value": [0]},
            "methods": methods,
            **self.explain(Session(subject, found), name, way, *asked),
        }


def telling(function: Callable[..., Changes]) -> Callable[..., Changes]:
    """What goes wrong in a function is said on the page, in one clear message."""

    def call(*inputs: Any) -> Changes:
        try:
            return {"message": said(""), **function(*inputs)}
        except (ValueError, TypeError, OSError) as error:
            return {"message": said(str(error), wrong=True)}

    return call


def said(text: str, wrong: bool = False) -> str:
    """A message, which screen readers read out.

    Example:
        >>> said("a < b", wrong=True)
        '<div role="alert" class="error">a &lt; b</div>'
    """
    role = 'role="alert" class="error"' if wrong else 'role="status"'
    return f"<div {role}>{html.escape(text)}</div>"


def _styled(found: looking.Look, style: showing.Style) -> Changes:
    return {"maps": showing.show_maps(found, style), "lines": showing.show_lines(found, style)}


def _emptied() -> Changes:
    hidden = {name: {"visible": False} for name in ("which", "verify", "downloads")}
    return {**dict.fromkeys(("maps", "words", "verified", "lines"), ""), **hidden}


def _layer_name(network: Network, place: int) -> str:
    words = network.places[place].words if place < len(network.places) else "no layer has a map"
    return said(words)
