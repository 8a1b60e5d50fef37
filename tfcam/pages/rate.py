"""The page of a blind comparison: two maps, four answers, by mouse or by the arrow keys."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from tfcam.pages.rating import Rating, check_name
from tfcam.pages.serving import new_page, updates
from tfcam.pages.visits import Changes, said, telling

# Each answer: what its button says, and the key that presses it.
BUTTONS = {
    "left": ("← Left is better", "ArrowLeft"),
    "tie": ("↑ Both alike", "ArrowUp"),
    "neither": ("↓ Neither", "ArrowDown"),
    "right": ("Right is better →", "ArrowRight"),
}
_NAMES = ", ".join(f'{key}: "{answer}"' for answer, (_, key) in BUTTONS.items())
# The arrows press the buttons, but not while a name is written; a second press within a moment, as
# of a double click, is none: the next pair has not been looked at yet.
KEYS = (
    f"() => {{ const names = {{ {_NAMES} }};"
    """
  let last = -1000;
  document.addEventListener("click", (event) => {
    if (!Object.values(names).some((name) => event.target.closest("#" + name))) return;
    if (event.timeStamp - last < 400) event.stopImmediatePropagation();
    else last = event.timeStamp;
  }, true);
  document.addEventListener("keydown", (event) => {
    const button = document.querySelector("#" + names[event.key]);
    if (!button || event.repeat || event.altKey || event.ctrlKey || event.metaKey) return;
    if (/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
    event.preventDefault();
    button.click();
  });
}"""
)


def ask(rating: Rating, rater: str) -> Changes:
    """Show a rater's next question, or thanks.

    Raises:
        ValueError: If there is no name, or a picture can't be explained.
    """
    rater = check_name(rater)
    question = rating.question(rater)
    total = len(rating.pairs(rater))
    begun = {"name": {"visible": False}, "begin": {"visible": False}, "rater": rater}
    if question is None:
        thanks = said(f"Thank you, {rater}: all {total} pairs are answered.")
        return {**begun, "question": thanks, "answers": {"visible": False}, "number": -1}
    shown = {"question": question.html, "answers": {"visible": True}}
    return {**begun, **shown, "number": question.number}


def answer(rating: Rating, answer: str, rater: str, number: int) -> Changes:
    """Keep an answer to the question that the rater saw, and show the next.

    Raises:
        ValueError: As ``ask``.
    """
    rating.answer(check_name(rater), int(number), answer)
    return ask(rating, rater)


def build(gr: ModuleType, rating: Rating) -> Any:
    """Lay out the page; its functions are ``ask`` and ``answer``."""
    with new_page(gr, "tfcam: which map is better?") as page:
        gr.HTML("<h1>Which map is better?</h1>")
        parts = {"message": gr.HTML(said("")), "rater": gr.State("", time_to_live=86_400)}
        parts["name"] = gr.Textbox(label="Your name", elem_id="name", max_lines=1)
        parts["begin"] = gr.Button("Begin", variant="primary", elem_id="begin")
        parts["question"] = gr.HTML(elem_id="question")
        # What the rater sees: a second press while the next pair is under way answers nothing.
        parts["number"] = gr.Number(-1, visible="hidden", elem_id="number", label="number")
        with gr.Row(visible=False) as parts["answers"]:
            buttons = {
                name: gr.Button(words, elem_id=name, min_width=140)
                for name, (words, _) in BUTTONS.items()
            }

        def on(event: Any, function: Any, *inputs: str) -> None:
            event(
                lambda *values: updates(gr, parts, telling(function)(*values)),
                [parts[name] for name in inputs],
                [*parts.values()],
                api_visibility="private",
                concurrency_id="network",
                concurrency_limit=1,
                show_progress="hidden",
            )

        for event in (parts["begin"].click, parts["name"].submit):
            on(event, lambda name: ask(rating, name), "name")
        for name, button in buttons.items():
            on(
                button.click,
                lambda rater, number, name=name: answer(rating, name, rater, number),
                *("rater", "number"),
            )
        page.load(None, None, None, js=KEYS)
    return page
