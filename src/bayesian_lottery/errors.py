"""The one exception a user is meant to read."""


class InputError(ValueError):
    """Something the user gave is wrong; the message is one sentence that says what and what is allowed."""


def choice(key: str, value: object, allowed) -> InputError:
    """The error for `value` of `key` not being one of `allowed`."""
    return InputError(f"{key}: {value!r} is not known; choose from {', '.join(map(str, sorted(allowed)))}.")
