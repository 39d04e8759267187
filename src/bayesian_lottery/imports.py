"""A user's own code: Python files, and objects named by module or file.

Needs no torch, unless what is imported does.
"""

import importlib
import importlib.util
import os
import sys
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

from bayesian_lottery.errors import InputError, short


def is_file(code: str) -> bool:
    """Whether "where:object" names a file, and not a module."""
    return code.rpartition(":")[0].endswith(".py")


def load_file(key: str, file: str | Path) -> ModuleType:
    """Import a Python file as `lottery_extension_<its name>`, once.

    Args:
        key: what the configuration calls it, for errors.
        file: its path.

    Raises:
        InputError: it is missing, fails, or has the name of another one that was imported.
    """
    name = f"lottery_extension_{Path(file).stem}"
    if name in sys.modules:
        if Path(str(sys.modules[name].__file__)).resolve() != Path(file).resolve():
            raise InputError(f"{key}: two files have the name {short(Path(file).name)}.")
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None or not os.path.isfile(file):
        raise InputError(f"{key}: {short(str(file))} is not a Python file that is there.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise InputError(
            f"{key}: {short(str(file))} fails as it is imported ({reason(error)})."
        ) from error
    return module


def load(key: str, code: str) -> object:
    """What `code`, "module:object" or "path/to/file.py:object", names.

    Raises:
        InputError: there is no such module, file or object.
    """
    where, _, name = code.rpartition(":")
    if is_file(code):
        module = load_file(key, where)
    else:
        try:
            module = importlib.import_module(where)
        except (Exception, SystemExit) as error:
            raise InputError(
                f"{key}: the module {short(where)} cannot be imported ({reason(error)})."
            ) from error
    try:
        return attrgetter(name)(module)
    except AttributeError:
        raise InputError(f"{key}: {short(where)} has no {short(name)}.") from None


def reason(error: BaseException) -> str:
    """An exception's kind and message on one line."""
    return short(f"{type(error).__name__}: {error}")


def named(code: str) -> Any:
    """What a registry's entry names, "module:object"; this may load torch.

    Raises:
        InputError: as `load` does, for an extension may name what is not there.
    """
    return load(f"the code {short(code)}", code)
