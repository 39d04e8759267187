"""The locks, and the jobs' conda environment: the same versions but for torch and CUDA."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-cuda12.lock")
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


def test_the_environment_of_snakemake_pins_its_plugins_too():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    direct = {Requirement(line).name for line in project["dependencies"]}
    lock = versions((ROOT / "requirements.lock").read_text().splitlines())
    environment = yaml.safe_load((ROOT / "workflow/envs/snakemake.yaml").read_text())
    python, _, pip = environment["dependencies"]
    plugin = "snakemake-executor-plugin-slurm"
    assert python == "python =3.11" and {plugin, f"{plugin}-jobstep"} <= direct
    assert versions(pip["pip"]) == {name: lock[name] for name in direct}


def test_the_container_installs_the_lock_as_it_is():
    recipe = (ROOT / "workflow/envs/lottery.def").read_text()
    installed = re.findall(r"pip install (.*)", recipe)
    assert [line.split()[1:] for line in installed] == [
        ["--requirement", "/opt/lottery/requirements.lock"],
        ["--no-deps", "/opt/lottery"],
    ]
    copied = dict(re.findall(r"^    (\S+) (/opt/lottery/\S+)$", recipe, flags=re.MULTILINE))
    assert copied == {name: f"/opt/lottery/{name}" for name in copied}
    assert {"requirements.lock", "pyproject.toml", "src"} <= {*copied}
    assert all((ROOT / name).exists() for name in copied)
    (python,) = re.findall(r"^From: python:([\d.]+)-slim$", recipe, flags=re.MULTILINE)
    assert python == "3.11"


def lines_of(lock: str) -> dict[str, str]:
    """The lock's lines by the name of the package and, where there are several, its marker."""
    lines = (ROOT / lock).read_text().splitlines()
    return {line.partition("==")[0] + line.partition(";")[2]: line for line in lines}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_names_and_versions_and_nothing_else(lock):
    for line in (ROOT / lock).read_text().splitlines():
        requirement = Requirement(line)
        assert not requirement.url and not requirement.extras, line
        assert re.fullmatch(r"==[\w.]+", str(requirement.specifier)), line


def test_the_locks_differ_in_torch_and_cuda_alone():
    newer, older = (lines_of(lock) for lock in LOCKS)
    different = {Requirement(line).name for line in {*newer.values()} ^ {*older.values()}}
    cuda = {name for name in different if name.startswith(("nvidia-", "cuda-"))}
    assert different == cuda | {"torch", "torchvision", "triton"}
    assert not any(name.endswith("-cu12") for name in newer)
    libraries = {Requirement(line).name for line in older.values() if line.startswith("nvidia-")}
    assert libraries and all(name.endswith("-cu12") for name in libraries)


@pytest.mark.parametrize("lock", LOCKS)
def test_the_package_accepts_the_versions_of_either_lock(lock):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = versions((ROOT / lock).read_text().splitlines())
    for requirement in map(Requirement, project["dependencies"]):
        version = pinned[requirement.name].removeprefix("==")
        assert requirement.specifier.contains(version), requirement


def test_an_environment_stays_with_the_lock_that_was_named(tmp_path):
    for name in ("Makefile", "pyproject.toml", *LOCKS):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv").mkdir()

    def installs(*options: str) -> list[str]:
        command = ["make", "--dry-run", "environment", *options]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return re.findall(r"uv pip sync --quiet --compile-bytecode (\S+)", run.stdout)

    newer, older = LOCKS
    assert installs() == [newer] and installs(f"LOCK={older}") == [older]
    (tmp_path / ".venv/installed").write_text(f"{older}\n")
    assert installs() == installs(f"LOCK={older}") == []
    assert installs(f"LOCK={newer}") == [newer]
