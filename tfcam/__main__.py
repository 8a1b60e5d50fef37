"""``python -m tfcam`` is the command line."""

from tfcam.cli import main

if __name__ == "__main__":
    main()
