"""The one exception a user is meant to read, and the one way in which scripts show it."""

import sys
from collections.abc import Callable


class InputError(ValueError):
    """What the user can mend; the message is one sentence: what is wrong and what is allowed."""


def choice(key: str, value: object, allowed) -> InputError:
    """The error for `value` of `key` not being one of `allowed`."""
    known = ", ".join(map(str, sorted(allowed)))
    return InputError(f"{key}: {value!r} is not known; choose from {known}.")


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
