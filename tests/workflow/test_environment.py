"""The jobs' conda environment and the lock that README.md installs have the same versions."""

import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PYTHON = {"python_version": "3.11", "python_full_version": "3.11.0"}


def versions(lines) -> dict[str, str]:
    """Of each package the exact version that Python 3.11 takes."""
    requirements = [Requirement(line) for line in lines if line.strip() and line[0] not in "#- "]
    return {
        requirement.name: str(requirement.specifier)
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate(PYTHON)
    }


def test_the_environment_pins_the_direct_dependencies_as_the_lock_does():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    direct = {Requirement(line).name for line in project["dependencies"]}
    lock = versions((ROOT / "requirements.lock").read_text().splitlines())

    environment = yaml.safe_load((ROOT / "workflow/envs/lottery.yaml").read_text())
    python, _, pip = environment["dependencies"]
    jobs_need = {name for name in direct if not name.startswith("snakemake")}
    assert python == "python =3.11"
    assert versions(pip["pip"]) == {name: lock[name] for name in jobs_need}
