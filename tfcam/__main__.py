"""``python -m tfcam`` is the command line."""

from __future__ import annotations

from tfcam.cli import main

if __name__ == "__main__":
    main()
