"""Every command that the documents show does what it is shown for, as far as that is cheap.

Snakemake plans what a command would run and runs nothing. Of commands that are not run, the program
knows the options.
"""

import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("*/README.md")), *sorted(ROOT.glob("docs/*.md"))]
PROGRAMS = ("make", "snakemake", "python", "git", "module", "source", "squeue", "scontrol", "tail")
NODE = "digits/resnet8_slim/bayesian/short/seed0/snr_imp"  # for "…" in a path

# Not run, and why; a command is here if it begins so. The options of python's are looked up.
NOT_RUN = {
    "git clone": "needs a network",
    "module load": "is the site's",
    "source .venv/bin/activate": "is the environment that runs this",
    "squeue": "needs SLURM; tests/slurm",
    "scontrol": "needs SLURM; tests/slurm",
    "tail -f": "never ends",
    "make": "takes minutes; its target is looked up",
    "python benchmarks/": "takes minutes; tests/workflow/test_benchmarks.py",
    "python scripts/export.py": "needs trained networks; tests/unit/test_formats.py",
    "python scripts/compare.py": "needs two finished studies; tests/unit/test_comparison.py",
    "python scripts/estimate.py --configfile ...": "stands for any configuration",
    "python tests/fuzz/": "takes ten minutes; tests/fuzz/test_configurations.py",
    "python tests/slurm/chaos.py": "takes half an hour; tests/slurm/test_chaos.py",
    "python scripts/status.py --watch": "ends with the study; tests/unit/test_status.py",
    "snakemake --cores 4 --forcerun $(": "needs a finished study; tests/workflow/test_partial.py",
    "snakemake --report": "needs a finished study; tests/workflow/test_partial.py",
    "snakemake --profile slurm --software-deployment-method conda": "needs conda",
}


def blocks(text: str) -> list[str]:
    """The fenced blocks that are commands, their continued lines joined."""
    found = re.findall(r"^```\w*\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return [block.replace("\\\n", " ") for block in found if _is_command(block)]


def _is_command(line: str) -> bool:
    return re.match(rf"\s*(\w+=\S+ )?({'|'.join(PROGRAMS)}) ", line) is not None


def commands(path: Path) -> list[str]:
    """The commands of a document, in blocks and in the prose, without their comments."""
    text = path.read_text()
    lines = [line for block in blocks(text) for line in block.splitlines()]
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    lines += re.findall(r"^    (\S.*)$", prose.replace("\\\n", " "), flags=re.MULTILINE)
    lines += [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose)]
    plain = (re.sub(r"\s+#.*", "", line).strip() for line in lines)
    return [line for line in plain if _is_command(line)]


COMMANDS = list(dict.fromkeys(command for path in DOCUMENTS for command in commands(path)))


def reason(command: str) -> str | None:
    return next((why for start, why in NOT_RUN.items() if command.startswith(start)), None)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """The repository without results."""
    folder = tmp_path_factory.mktemp("commands")
    for name in ("benchmarks", "config", "profiles", "scripts", "slurm", "src", "workflow"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "lottery").symlink_to(ROOT)  # a clone, for who stands beside it
    return folder


def run(folder: Path, *arguments: str, **environment: str) -> str:
    environment = {**os.environ, "NO_COLOR": "1", "PYTHONPATH": str(ROOT / "src"), **environment}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_there_are_commands_in_each_place() -> None:
    assert len(COMMANDS) > 25
    assert len(commands(ROOT / "README.md")) > 10
    assert not set(NOT_RUN) - {s for s in NOT_RUN for c in COMMANDS if c.startswith(s)}


def planned(command: str) -> str:
    """The command as a dry run; those that differ in cores only are one."""
    program, arguments = re.fullmatch(r"(.*?\bsnakemake)\b(.*)", command).groups()
    arguments = re.sub(r"--cores \d+", "--cores 1", arguments.replace("…", NODE))
    assert re.search("--(cores|profile|dry-run)", arguments), f"{command} does not start"
    arguments = re.sub(" --(dry-run|quiet rules)", "", arguments)
    return f"{program} --quiet rules --dry-run{arguments}"


SCRIPTS = {
    left_out: [
        command
        for command in COMMANDS
        if re.match(r"python \w+/", command) and "snakemake" not in command
        if bool(reason(command)) == left_out
    ]
    for left_out in (True, False)
}
PLANS = dict.fromkeys(planned(c) for c in COMMANDS if "snakemake" in c and not reason(c))


@pytest.mark.parametrize("command", PLANS)
def test_snakemake_plans_what_is_shown(command: str, checkout: Path) -> None:
    words = shlex.split(command)
    environment = dict(
        word.split("=", 1) for word in words[: words.index("snakemake")] if "=" in word
    )
    printed = run(
        checkout, "-m", "snakemake", *words[words.index("snakemake") + 1 :], **environment
    )
    assert re.search(r"^total +\d+$", printed, flags=re.MULTILINE), printed


def test_snakemake_counts_jobs_where_a_dry_run_is_shown() -> None:
    shown = [command for command in COMMANDS if "--dry-run" in command and "--quiet" in command]
    assert shown and all("--quiet rules" in command for command in shown)


@pytest.mark.parametrize("command", SCRIPTS[False])
def test_scripts_print_what_is_shown(command: str, checkout: Path) -> None:
    arguments = shlex.split(command)[1:]
    assert "total" in run(checkout, *arguments)


@pytest.mark.parametrize("command", SCRIPTS[True])
def test_programs_know_the_options_that_are_shown(command: str) -> None:
    _, script, *arguments = shlex.split(command)
    options = {word for word in arguments if word.startswith("--")}
    assert options <= set(re.findall(r"--[\w-]+", usage(script)))


@cache
def usage(script: str) -> str:
    return run(ROOT, script, "--help")


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make ")])
def test_make_has_the_targets_that_are_shown(command: str) -> None:
    done = subprocess.run(["make", "--dry-run", command.split()[1]], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_the_estimate_of_the_paper_is_shown_as_it_is_printed(checkout: Path) -> None:
    arguments = ("--configfile", "config/cifar10.yaml", "--by", "model")
    printed = run(checkout, "scripts/estimate.py", *arguments)
    assert f"```\n{printed}```" in (ROOT / "docs/cost.md").read_text()
