"""The one exception that users read, how its sentences show what they speak of, and the one way in
which scripts end with it."""

import reprlib
import sys
from collections.abc import Callable, Iterable


class InputError(ValueError):
    """What the user can mend; the message is one sentence: what is wrong and what is allowed."""


def choice(key: str, value: object, allowed: Iterable) -> InputError:
    """The error for `value` of `key` not being one of `allowed`."""
    return InputError(f"{key}: {short(value)} is not known; choose from {few(sorted(allowed))}.")


def short(value: object) -> str:
    """`value` as Python writes it, on one line; beyond 110 characters it loses its middle."""
    text = _SHORT.repr(value)
    return text if len(text) <= 110 else f"{text[:70]}...{text[-30:]}"


def few(values: Iterable, most: int = 20) -> str:
    """`values` with commas between, the first `most` of them."""
    values = list(map(str, values))
    more = [f"{len(values) - most} more"] if len(values) > most else []
    return ", ".join(values[:most] + more)


def run(main: Callable[[], None]) -> None:
    """Run a script's `main`; what a user can mend ends it with one sentence and exit status 1.

    That is an `InputError`, and what the system refuses: a full or read-only disk, missing rights.
    """
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        sys.exit(f"error: {what}{error.strerror or error}.")


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 100
_SHORT.maxlevel = 2
