"""What tests share. Hypothesis tries the same examples each time, however busy the machine is."""

import sys

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


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
