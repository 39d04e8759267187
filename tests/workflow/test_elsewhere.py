"""The workflow runs jobs and draws a figure from any folder, as a module, and fetched from git."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from bayesian_lottery.findings.figures import FIGURES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/elsewhere.md").read_text()
PARTS = (
    *("LICENSE", "README.md", "pyproject.toml"),
    *("config", "profiles", "scripts", "src", "workflow"),
)
MARK = 77  # the clone's version of the computation: what its own package records, and no other one
RESULTS = "my results"
STUDY = {
    "results": RESULTS,
    "datasets": {"digits": {"source": "digits"}},
    "curricula": {"short": {"epochs": 1, "learning_rate": 0.01}},
    "evaluation": {"samples": 1, "passes": 1},
    "trunks": [
        {
            **{"dataset": "digits", "model": "lenet_100_50", "curriculum": "short"},
            **{"inference": "deterministic", "scorer": "magnitude", "seeds": [0], "levels": 1},
        }
    ],
}
TRUNK = "runs/digits/lenet_100_50/deterministic/short/seed0/magnitude_imp"
FIGURE = f"{RESULTS}/figures/figure1.png"


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """The project in a repository, in a folder whose name a shell would take apart."""
    folder = tmp_path_factory.mktemp("anywhere") / "a clone's $folder"
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        folder.mkdir(exist_ok=True)
        copy(ROOT / part, folder / part, **({"ignore": ignored} if copy is shutil.copytree else {}))
    module = folder / "src/bayesian_lottery/computation.py"
    text, count = re.subn(r"^VERSION = \d+", f"VERSION = {MARK}", module.read_text(), flags=re.M)
    assert count == 1
    module.write_text(text)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "all")
    git(folder, "tag", "v0.1.0")
    return folder


class Place:
    """A folder with a user's configuration, and perhaps a Snakefile."""

    def __init__(self, folder: Path, config: str = "my.yaml", snakefile: str = ""):
        self.folder = folder
        (folder / config).parent.mkdir(parents=True, exist_ok=True)
        (folder / config).write_text(yaml.safe_dump(STUDY))
        if snakefile:
            (folder / "Snakefile").write_text(snakefile)
        self.environment = {
            **{k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "GITHUB_TOKEN")},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "XDG_CACHE_HOME": str(folder / "cache"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "NO_COLOR": "1",
        }

    def run(self, *command: str | Path, cwd: Path | None = None, well: bool = True) -> str:
        run = subprocess.run(
            [sys.executable, *command],
            cwd=cwd or self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert (run.returncode == 0) == well, run.stdout
        return run.stdout

    def snakemake(self, *arguments: str | Path, **options) -> str:
        return self.run("-m", "snakemake", "--cores", "2", *arguments, **options)

    def has_a_figure(self, results: str = RESULTS) -> None:
        """Jobs ran with the clone's package, and drew a figure, below `results`."""
        metrics = json.loads((self.folder / results / TRUNK / "level01/metrics.json").read_text())
        assert metrics["provenance"]["computation"] == MARK
        assert (self.folder / results / "figures/figure1.png").read_bytes().startswith(b"\x89PNG")

    def lose_a_level(self) -> None:
        for name in (TRUNK, "tables", "figures"):
            shutil.rmtree(self.folder / RESULTS / name)


def rules(planned: str) -> set[str]:
    """The rules that a dry run names in its table of jobs."""
    return set(re.findall(r"^(\w+) +\d+$", planned, flags=re.MULTILINE)) - {"total"}


@pytest.mark.slow
def test_another_folder_and_directory(clone: Path, tmp_path: Path) -> None:
    place = Place(tmp_path)
    study = ("--snakefile", clone / "workflow/Snakefile", "--configfile", tmp_path / "my.yaml")
    place.snakemake(*study, "--", FIGURE)
    place.has_a_figure()
    assert not (clone / "results").exists() and not (clone / ".snakemake").exists()

    place.lose_a_level()
    other = tmp_path / "other"
    other.mkdir()
    there = (*study, "--directory", tmp_path, "--", FIGURE)
    place.snakemake(*there, cwd=other)
    place.has_a_figure()
    assert not list(other.iterdir())
    assert "Nothing to be done" in place.snakemake("--dry-run", *there, cwd=other)

    place.environment["PYTHONPATH"] = str(clone / "src")
    status = place.run(clone / "scripts/status.py", "--configfile", "my.yaml")
    assert "Everything is trained." in status
    place.snakemake(*study, "--report", "report.html", FIGURE)

    figures = clone / "src/bayesian_lottery/findings/figures/curves.py"
    text = figures.read_text()
    try:
        figures.write_text(text + "\n# changed\n")
        planned = rules(place.snakemake("--dry-run", "--quiet", "rules", *study, "--", FIGURE))
    finally:
        figures.write_text(text)
    assert planned == {"plot_figure1"}


@pytest.mark.slow
def test_without_trunks_the_users_default_comes_before_the_projects(
    clone: Path, tmp_path: Path
) -> None:
    place = Place(tmp_path)
    (tmp_path / "small.yaml").write_text("device: cpu\n")
    study = ("--snakefile", clone / "workflow/Snakefile", "--dry-run", "--quiet", "rules")
    of_the_project = place.snakemake(*study, "--configfile", "small.yaml")
    assert "train_dense_bayesian" in rules(of_the_project)
    (tmp_path / "my.yaml").rename(tmp_path / "config.yaml")
    (tmp_path / "config").mkdir()
    (tmp_path / "config.yaml").rename(tmp_path / "config/config.yaml")
    for given in ((), ("--configfile", "small.yaml")):
        assert "train_dense_bayesian" not in rules(place.snakemake(*study, *given))


def module(named: Callable[[str], bool], *changes: tuple[str, str]) -> str:
    """The Snakefile of docs/elsewhere.md for which `named` is true, with other words in places."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
    (text,) = filter(named, blocks)
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    return text


@pytest.mark.slow
def test_a_module_from_a_path(clone: Path, tmp_path: Path) -> None:
    path = ('"/path/to/lottery/workflow/Snakefile"', repr(f"{clone}/workflow/Snakefile"))
    from_path = module(lambda text: "/path/to/" in text, path)
    place = Place(tmp_path, "config/config.yaml", from_path)
    place.snakemake(FIGURE)
    place.has_a_figure()
    assert (tmp_path / ".snakemake/running").exists(), "onstart of the module"
    assert "Nothing to be done" in place.snakemake("--dry-run", FIGURE)
    # Where the clone is, is no reason to train again.
    alone = ("--snakefile", clone / "workflow/Snakefile", "--configfile", "config/config.yaml")
    assert "Nothing to be done" in place.snakemake("--dry-run", *alone, "--", FIGURE)


MINE = """
rule prepare_data:
    input:
        rules.lottery_plot_figure1.output,
    output:
        "mine.txt",
    shell:
        "echo ${PYTHONPATH-unset} > {output}"
""".replace("${PYTHONPATH-unset}", "${{PYTHONPATH-unset}}")


@pytest.mark.slow
def test_a_module_below_a_prefix_beside_rules_of_ones_own(clone: Path, tmp_path: Path) -> None:
    path = ('"/path/to/lottery/workflow/Snakefile"', repr(f"{clone}/workflow/Snakefile"))
    prefix = (
        "\n        config\n",
        '\n        config["study"]\n    prefix:\n        "sub folder"\n',
    )
    names = ("use rule * from lottery", "use rule * from lottery as lottery_*")
    snakefile = module(lambda text: "/path/to/" in text, path, prefix, names)
    place = Place(tmp_path, "config/config.yaml", snakefile + MINE)
    (tmp_path / "mine.py").write_text(
        "from bayesian_lottery.tickets.scores import SCORERS, Scorer\n"
        'SCORERS["magnitude_again"] = Scorer(("weight",), lambda weight: weight.abs(), "again")\n'
    )
    study = {**STUDY, "extensions": ["mine.py"]}
    study["trunks"] = [{**STUDY["trunks"][0], "scorer": ["magnitude", "magnitude_again"]}]
    (tmp_path / "config/config.yaml").write_text(yaml.safe_dump({"study": study, "mine": 1}))
    place.snakemake("mine.txt")
    place.has_a_figure(f"sub folder/{RESULTS}")
    assert (tmp_path / "mine.txt").read_text() == "unset\n"
    assert not (tmp_path / RESULTS).exists()
    assert "Nothing to be done" in place.snakemake("--dry-run", "mine.txt")

    study["results"] = str(tmp_path / "results")
    (tmp_path / "config/config.yaml").write_text(yaml.safe_dump({"study": study}))
    assert "give a relative path" in place.snakemake("--dry-run", well=False)


@pytest.fixture(scope="module")
def installed(clone: Path, tmp_path_factory) -> Path:
    """A folder in which the clone's wheel is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # setuptools writes beside what it packs
    shutil.copytree(clone, source, ignore=shutil.ignore_patterns(".git"))
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    command = [sys.executable, "-c", build, folder]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (wheel,) = folder.glob("bayesian_lottery-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_the_whole_package(installed: Path) -> None:
    files = {path.relative_to(installed) for path in installed.rglob("bayesian_lottery/**/*.*")}
    package = (ROOT / "src/bayesian_lottery").rglob("*.*")
    own = [path for path in package if "__pycache__" not in path.parts]
    assert files == {path.relative_to(ROOT / "src") for path in own}


REPOSITORIES = {
    "gitfile": 'gitfile({clone!r}, path="workflow/Snakefile", ref="main")',
    "github": 'github("OWNER/lottery", path="workflow/Snakefile", tag="v0.1.0")',
}


@pytest.mark.slow
@pytest.mark.parametrize("source", REPOSITORIES)
def test_a_module_fetched_from_git(
    source: str, clone: Path, installed: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "remote/OWNER/lottery"
    bare.parent.mkdir(parents=True)
    git(tmp_path, "clone", "--quiet", "--no-checkout", str(clone), str(bare))
    written = module(lambda text: "github" in text, (REPOSITORIES["github"], "SOURCE"))
    snakefile = written.replace("SOURCE", REPOSITORIES[source].format(clone=str(bare)))
    place = Place(tmp_path, "config/config.yaml", snakefile)
    place.environment |= {
        "PYTHONPATH": str(installed),
        # github() clones from here
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{tmp_path}/remote/.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/",
    }
    place.snakemake(FIGURE)
    place.has_a_figure()
    assert "Nothing to be done" in place.snakemake("--dry-run", FIGURE)
    place.snakemake("--report", "report.html", FIGURE)

    (metadata,) = installed.glob("*.dist-info/METADATA")
    text = metadata.read_text()
    try:
        metadata.write_text(re.sub("^Version: .*$", "Version: 0.0.9", text, flags=re.MULTILINE))
        sentence = "needs its package: bayesian-lottery 0.1.0, and 0.0.9 is installed"
        assert sentence in place.snakemake("--dry-run", well=False)
    finally:
        metadata.write_text(text)


def test_each_figure_has_a_caption() -> None:
    own = [name for name, figure in FIGURES.items() if figure.__module__.startswith("bayesian")]
    assert all((ROOT / f"workflow/report/{name}.rst").exists() for name in own)


def test_rules_name_no_place_themselves() -> None:
    """What lies in the project is sought by places.smk alone."""
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        if path.name != "places.smk":
            sought = re.findall(r"python scripts|[\"']src/|basedir|[\"']config/", path.read_text())
            assert sought == ['"config/'] * path.read_text().count('file("config/'), path
