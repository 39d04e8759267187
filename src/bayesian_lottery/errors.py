"""The one exception a user is meant to read."""


class InputError(ValueError):
    """What the user gave is wrong; the message is one sentence: what it is and what is allowed."""


def choice(key: str, value: object, allowed) -> InputError:
    """The error for `value` of `key` not being one of `allowed`."""
    known = ", ".join(map(str, sorted(allowed)))
    return InputError(f"{key}: {value!r} is not known; choose from {known}.")
