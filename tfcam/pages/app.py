"""``app``: a page to drop a picture on, and to look at what a network does with it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from tfcam.figures.palette import ALPHA
from tfcam.model.labels import Labels
from tfcam.pages.networks import Network, offered
from tfcam.pages.serving import HERE, SAVE, new_page, serve, updates
from tfcam.pages.showing import DOWNLOADS, FORMS
from tfcam.pages.visits import Changes, Session, Visits, parts_of, said, telling
from tfcam.preprocessing.modes import Preprocess
from tfcam.utils.extras import import_gradio
from tfcam.utils.progress import watched


def app(
    model: Any,
    *,
    output: str | int | None = None,
    preprocess: Preprocess = "auto",
    labels: Labels | None = None,
    host: str = HERE,
    port: int | None = None,
    browser: bool = True,
    wait: bool = False,
) -> str:
    """Open a page in the browser: drop a picture or write a text, and see where the network looks.

    Classes, layer, methods and colours are chosen there; the page says what to mind, verifies a
    map on request, and gives pictures, data, a report and the Python lines that make the same. It
    asks no other host and keeps nothing: uploads are deleted after some minutes. In a notebook, of
    Colab too, it is shown below the cell. Needs Gradio: ``pip install "tfcam[app]"``.

    Args:
        model: A Keras model of pictures or texts, several in a list, or a dict of names and models.
        output: Which output is explained of a model that has several, by name or index.
        preprocess: How pixels of 0..255 become the model's input: "auto" finds out, "raw" leaves
            them, "unit", "tf", "torch" and "caffe" scale them, and the name of a keras.applications
            family, such as "resnet_v2", does what that needs. Or a callable on (B, H, W, 3) float32
            pixels, ``tfcam.images.Window``, or None if prepared.
        labels: The label of each class, in the order of the classes, or a file with a label on each
            line or of JSON; by default known of ImageNet networks. Or a dict of names and indices,
            such as ``class_indices``, or "imagenet".
        host: The address that it listens at; by default only this machine reaches it. Whoever
            reaches it can use the network.
        port: The port; by default a free one from 7860 on.
        browser: Open the page in a browser.
        wait: Come back only when it is closed by Ctrl-C, as a script needs; else at once.

    Returns:
        The page's address.

    Raises:
        ImportError: If Gradio is not installed.
        ValueError: If the model takes neither pictures nor texts, or gives neither classes nor a
            number, or the port is taken.

    Example:
        >>> import tfcam
        >>> address = tfcam.app(tfcam.demo_model(), browser=False)  # doctest: +SKIP
    """
    networks = offered(model, labels, preprocess, output)
    gradio = import_gradio("app")
    return serve(build(gradio, networks), gradio, host=host, port=port, browser=browser, wait=wait)


def build(gradio: ModuleType, networks: Sequence[Network]) -> Any:
    """Lay out the page, and connect its parts with what ``Visits`` does."""
    with new_page(gradio, "tfcam: where did it look?") as page:
        parts = _parts(gradio, networks)
        _connect(gradio, parts, Visits({network.name: network for network in networks}))
    return page


def _parts(gr: ModuleType, networks: Sequence[Network]) -> dict[str, Any]:
    """Lay out the parts of the page, by their names."""
    first = parts_of(networks[0])
    names = [network.name for network in networks]
    parts = {"session": gr.State(Session(), time_to_live=3600)}
    gr.HTML("<h1>Where did it look?</h1>")

    def add(name: str, kind: str, *words: Any, **options: Any) -> None:
        own = first.get(name, {})
        own = own if isinstance(own, dict) else {"value": own}
        parts[name] = getattr(gr, kind)(*words, elem_id=name, **{**own, **options})

    add("message", "HTML", said(""))
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            add("network", "Dropdown", names, value=names[0], label="Network")
            add("file", "File", label="Picture: drop it here, or press to choose", height=140)
            add("example", "Button", "Draw an example")
            add("text", "Textbox", label="Text", lines=3)
            add("read", "Button", "Read the text")
            add("way", "Dropdown", label="Preprocessing of the picture")
            add("classes", "CheckboxGroup", [], label="Classes")
            add("methods", "Dropdown", multiselect=True, label="Methods, side by side")
            add("layer", "Slider", minimum=0, step=1, label="Layer")
            add("layer_name", "HTML")
            add("explain", "Button", "Explain", variant="primary")
            add("form", "Radio", [*FORMS], value="colours", label="Form")
            add("alpha", "Slider", 0, 1, ALPHA, step=0.05, label="Opacity")
        with gr.Column(scale=2, min_width=300):
            for name in ("answers", "maps", "words"):
                add(name, "HTML")
            add("which", "Dropdown", [], label="Which map", visible=False)
            add("verify", "Button", "Verify the map", visible=False)
            add("verified", "HTML")
            with gr.Row(visible=False) as parts["downloads"]:
                for what in DOWNLOADS:
                    add(f"download_{what}", "Button", f"Download {what}", min_width=120)
            add("lines", "HTML")
    for name in ("name", "url"):
        add(name, "Textbox", visible="hidden", label=name)
    return parts


def _connect(gr: ModuleType, parts: dict[str, Any], visits: Visits) -> None:
    """Say what calls what, with which parts' values."""
    style = ("form", "alpha")
    chosen = ("session", "network", "way", "classes", "layer", "methods", *style)

    def on(event: Any, function: Callable[..., Changes], *inputs: str, **options: Any) -> Any:
        return event(
            _told(gr, function, parts),
            [parts[name] for name in inputs],
            [*parts.values()],
            api_visibility="private",
            # Verifying draws a network's weights anew for a while: one at a time asks it.
            concurrency_id="network",
            concurrency_limit=1,
            show_progress="minimal",
            show_progress_on=[parts["message"]],
            **options,
        )

    on(parts["network"].change, visits.switch, "network")
    on(parts["file"].upload, visits.upload, "network", "way", "file", *style)
    on(parts["example"].click, visits.draw_example, *chosen[:3], *style)
    on(parts["way"].input, visits.prepare, *chosen[:3], *style)
    on(parts["read"].click, visits.read, "network", "way", "text", *style)
    on(parts["explain"].click, visits.explain, *chosen)
    on(parts["layer"].change, visits.slide, *chosen, trigger_mode="always_last")
    for name in style:
        restyled = ("session", *style)
        on(parts[name].change, visits.restyle, *restyled, trigger_mode="always_last")
    on(parts["verify"].click, visits.verify, "session", "which")
    file = [parts["name"], parts["url"]]
    for what in DOWNLOADS:
        make = functools.partial(visits.download, what)
        made = on(parts[f"download_{what}"].click, make, "session", *style)
        made.then(None, file, file, js=SAVE, api_visibility="private")


def _told(gr: ModuleType, function: Callable[..., Changes], parts: dict[str, Any]) -> Any:
    """Hand what a function says to the parts, and to the visitor how far it is."""

    # Gradio finds there that progress is shown.
    def call(progress: Any = gr.Progress(), *inputs: Any) -> Any:  # noqa: B008
        with watched(lambda part, what: progress(part, desc=what)):
            return updates(gr, parts, telling(function)(*inputs))

    return call
