# Where the parts of this workflow are, wherever Snakemake was started and however it came by the
# workflow: in a clone, or as files fetched one by one from git, beside which the package is installed.
import os
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.sourcecache import LocalSourceFile

MAIN = workflow.modifier.is_main_snakefile()  # and no module of another workflow
HERE = workflow.current_basedir
CLONE = Path(HERE.path).parents[1] if isinstance(HERE, LocalSourceFile) else None
if CLONE and CLONE.samefile(Path()):
    CLONE = Path()  # as ever: with other paths to the same files figures would be drawn again
AT_HOME = MAIN and CLONE == Path()


def own(path):
    """A file of the workflow, named from the project's root."""
    return str(CLONE / path) if CLONE else workflow.source_path(f"../../{path}")


def file(path):
    """A file of the user's own where Snakemake runs; else the workflow's of that name.

    A fetched copy is always new, so its time says nothing; it counts as another file with another
    tag or commit.
    """
    if os.path.exists(path):
        return local(path)
    return local(own(path)) if CLONE else ancient(local(own(path)))


def code(*patterns):
    """The modules of the package that match, as inputs of what they draw or count."""
    files = [str(path) for pattern in patterns for path in sorted(PACKAGE.glob(pattern))]
    return [local(path) for path in files]


def program(name):
    """How a rule's command starts that runs a script, for instance `python scripts/train.py`.

    Elsewhere than at the project's root the command names a variable of the environment, which this
    sets in each process of Snakemake: with a path in it the command would be another one, and what
    is trained be trained again, wherever the clone moves and with each new cache.
    """
    script = f"scripts/{name}.py"
    if AT_HOME:
        return f"python {script}"
    variable = f"LOTTERY_{name.upper()}"
    os.environ.update({variable: str(own(script))})
    return f'{SOURCE}python "${variable}"'


if CLONE:
    PACKAGE = CLONE / "src/bayesian_lottery"
    sys.path.insert(0, str((CLONE / "src").absolute()))
    os.environ.update(LOTTERY_SOURCE=str(CLONE / "src"))
    SOURCE = 'PYTHONPATH="$LOTTERY_SOURCE${{PYTHONPATH:+:$PYTHONPATH}}" '
else:
    needed = tomllib.loads(Path(own("pyproject.toml")).read_text())["project"]["version"]
    try:
        installed = version("bayesian-lottery")
    except PackageNotFoundError:
        installed = "none"
    if installed != needed:
        raise WorkflowError(
            f"A workflow fetched from git needs its package: bayesian-lottery {needed}, and"
            f" {installed} is installed. docs/elsewhere.md says how to install it."
        )
    import bayesian_lottery

    PACKAGE = Path(bayesian_lottery.__file__).parent
    SOURCE = ""
