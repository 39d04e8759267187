"""What tests share. Hypothesis tries the same examples each time, however busy the machine is."""

import contextlib
import ctypes
import sys

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="module", autouse=True)
def freed_memory_is_given_back():
    """After each module; `engine.keep_freed_memory` keeps it, as is right for a single job."""
    yield
    with contextlib.suppress(OSError, AttributeError):  # glibc only
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(scope="module")
def registries():
    """What a module's tests add to the registries by extensions goes with them."""
    from bayesian_lottery.study import extensions

    before = {which: dict(registry) for which, registry in extensions.REGISTRIES.items()}
    modules = set(sys.modules)
    yield
    for which, registry in extensions.REGISTRIES.items():
        for name in registry.keys() - before[which].keys():
            del registry[name]
    for name in set(sys.modules) - modules:
        if name.startswith("lottery_extension_"):
            del sys.modules[name]
