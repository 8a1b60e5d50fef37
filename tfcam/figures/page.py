"""A page that needs no other file and asks no host."""

from __future__ import annotations

import html

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
  body {{ font: 1rem/1.5 system-ui, sans-serif; color: #1c1c1c; background: #fff;
         max-width: 60rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere }}
  h1 {{ font-size: 1.6rem; line-height: 1.2 }}
  h2 {{ font-size: 1.2rem; margin-top: 2.5rem; padding-top: .7rem; border-top: 1px solid #ccc }}
  img {{ max-width: 100%; height: auto; display: block; margin: .5rem 0 }}
  table {{ border-collapse: collapse }}
  td, th {{ padding: .4rem .8rem .4rem 0; text-align: left; vertical-align: top;
           border-bottom: 1px solid #ccc }}
  .wide {{ overflow-x: auto }} .wide img {{ max-width: none; width: max(100%, 36rem) }}
  td b {{ white-space: nowrap }}
  .warning {{ border-left: .3rem solid #d55e00; padding-left: .8rem }}
  dt {{ font-weight: bold }} dd {{ margin: 0 0 .7rem }}
  @media (max-width: 40rem) {{ td, th {{ display: block; border: 0; padding: 0 }}
           tr {{ display: block; padding: .5rem 0; border-bottom: 1px solid #ccc }} }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def page(title: str, body: str) -> str:
    """Write a page.

    Args:
        title: Plain text.
        body: HTML, in which all that is foreign is escaped.

    Example:
        >>> "<h1>a &lt; b</h1>" in page("a < b", "")
        True
    """
    return _PAGE.format(title=html.escape(title), body=body)
