"""What a run's results are made by, each part told from others."""

from __future__ import annotations

from typing import Any

from tfcam.utils.digest_value import UntoldError, digest_value


def digest_parts(key: str | None, **parts: Any) -> dict[str, str | None]:
    """Digest what makes the results of a run, each part under its name.

    Args:
        key: What the user gives for it instead; then nothing is read.
        parts: The parts.

    Raises:
        ValueError: If a part can't be told from others, and no key is given.

    Example:
        >>> digest_parts("mine", method=print)
        {'method_digest': None}
    """
    digests: dict[str, str | None] = {}
    for name, part in parts.items():
        try:
            digests[f"{name}_digest"] = None if key is not None else digest_value(part)
        except UntoldError as error:
            raise ValueError(
                f"{name} can't be told from others, as {error}: a run that was stopped could go on "
                "with something else. Give what you wrote a name, key='...', and another one "
                "whenever you change it."
            ) from None
    return digests
