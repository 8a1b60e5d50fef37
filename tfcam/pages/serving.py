"""How pages are served: to this machine alone, asking no other, keeping nothing.

The browser itself is told to ask no other host (a content security policy), so that it holds
whatever Gradio's own files refer to.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import ModuleType
from typing import Any

from tfcam.pages.looking import MAX_BYTES
from tfcam.utils.validation import check_count

HERE = "127.0.0.1"
# Seconds after which an uploaded file is deleted, and how often that is looked for.
_KEPT = 300
_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; form-action 'self'; base-uri 'self'; object-src 'none'"
)
# Lets the browser save what came as (name, data URL), and forget it.
SAVE = """(name, url) => {
  if (!url) return [name, url];
  const [head, body] = url.split(",");
  const bytes = Uint8Array.from(atob(body), (letter) => letter.charCodeAt(0));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes], { type: head.slice(5).split(";")[0] }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  return ["", ""];
}"""
_STYLE = """
.gradio-container { font-size: 16px }
.gradio-container { overflow: visible !important }
#message { position: sticky; top: 0; z-index: 20; background: var(--body-background-fill) }
.gradio-container figure { margin: 0; min-width: 0 }
.gradio-container figure img { width: 100%; height: auto; display: block; border-radius: 4px }
.gradio-container figcaption { margin-top: .3rem; overflow-wrap: anywhere }
#answers figure { display: flex; flex-wrap: wrap; gap: 1rem; align-items: start }
#answers figure > * { flex: 1 1 14rem; max-width: 22rem; margin: 0 }
#answers figcaption ol { margin: .3rem 0 0; padding-left: 1.6rem; list-style: decimal }
#file .or { color: inherit }
.gradio-container .min_value, .gradio-container .max_value { color: inherit }
.maps { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)) }
.maps figure { max-width: 34rem }
.problems, .error { border-left: .3rem solid #b3261e; padding: .2rem .8rem; margin: .5rem 0 }
.wide { overflow-x: auto }
pre.lines { overflow-x: auto; padding: .8rem; background: #f4f4f4; color: #1c1c1c }
.pair { display: grid; gap: 1rem; grid-template-columns: 1fr 1fr; max-width: 60rem }
.gradio-container figure.given { max-width: 14rem; margin-top: 1rem }
:focus-visible { outline: .2rem solid #0b57d0 !important; outline-offset: .15rem }
"""


def new_page(gradio: ModuleType, title: str) -> Any:
    """Begin a page, in whose ``with`` block its parts are named."""
    return gradio.Blocks(title=title, analytics_enabled=False, delete_cache=(_KEPT, _KEPT))


def updates(gradio: ModuleType, parts: Mapping[str, Any], changes: Mapping[str, Any]) -> Any:
    """Hand the parts of a page what they become: values, or dicts of properties."""
    return {
        parts[name]: gradio.update(**value) if isinstance(value, dict) else value
        for name, value in changes.items()
    }


def serve(
    page: Any,
    gradio: ModuleType,
    *,
    host: str = HERE,
    port: int | None = None,
    browser: bool = True,
    wait: bool = False,
) -> str:
    """Serve a page.

    Args:
        page: The page.
        gradio: The module.
        host: The address that it listens at: by default only this machine reaches it.
        port: The port; None takes a free one from 7860 on.
        browser: Whether a browser is opened.
        wait: Whether to come back only when it is closed, else at once.

    Returns:
        Its address.

    Raises:
        ValueError: If the port is none, or taken.
    """
    if port is not None:
        check_count("port", port)
        if port > 65535:
            raise ValueError(f"port must be at most 65535; got {port}.")
    try:
        _, address, _ = page.queue(max_size=100).launch(
            server_name=host,
            server_port=port,
            inbrowser=browser,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            show_error=False,
            max_file_size=MAX_BYTES,
            ssr_mode=False,
            enable_monitoring=False,
            run_history=False,
            footer_links=[],
            mcp_server=False,
            pwa=False,
            theme=_theme(gradio),
            css=_STYLE,
            app_kwargs={"middleware": [(_Guarded, (), {})]},
        )
    except OSError as error:
        raise ValueError(
            f"The page could not be served at {host}, port {port or 'any from 7860 on'}: "
            f"{' '.join(str(error).split())} Give another port."
        ) from None
    if wait:
        print(f"The page is at {address}; Ctrl-C ends it.", flush=True)
        page.block_thread()
    return str(address)


def _theme(gradio: ModuleType) -> Any:
    """Gradio's usual look in letters of the system, and in colours that are told apart."""
    return gradio.themes.Default(
        primary_hue="blue",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_label_text_color="*neutral_600",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
    )


class _Guarded:
    """Adds headers to every answer."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", []),
                    (b"content-security-policy", _POLICY.encode()),
                    (b"referrer-policy", b"no-referrer"),
                    (b"cache-control", b"no-store"),
                ]
            await send(message)

        await self._app(scope, receive, guarded)
