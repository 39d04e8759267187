"""Try many configurations: each must give a plan that can run, or be refused in one sentence.

The short run is a test (test_configurations.py). This program is the long one; it also gives a
share of the configurations to Snakemake itself, as a dry run.
"""

import argparse
import contextlib
import json
import os
import random
import resource
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from strategies import Document, documents
from vocabulary import SCHEMA_FILE

from bayesian_lottery import study
from bayesian_lottery.errors import InputError
from bayesian_lottery.findings import figures
from bayesian_lottery.running import resources
from bayesian_lottery.study import configuration
from bayesian_lottery.study.datasets import images_of

ROOT = Path(__file__).parents[2]
SECONDS, BYTES, CHARACTERS = 10, 2**30, 600  # that a plan or a sentence may take
WAITING = 60  # seconds by the clock, which the machine's other work takes from too


class TooLong(BaseException):
    """Not an Exception, which much code catches."""


def checkout(folder: Path) -> None:
    """Make `folder` one to start Snakemake in, with the project's files and a copy of `config`."""
    for name in ("profiles", "scripts", "src", "workflow"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "config").mkdir()
    for path in (ROOT / "config").iterdir():
        (folder / "config" / path.name).symlink_to(path)


def outcome(document: Document) -> tuple[str | None, int]:
    """The sentence that refuses `document`, or None, and how many networks it plans.

    Starts where `checkout` was made, and writes the document there.

    Raises:
        AssertionError: the sentence is none that a person would read.
        TooLong: it takes more than `SECONDS` of CPU time, or `WAITING` by the clock.
        Exception: whatever else the program fails with.
    """
    try:
        with written(document) as files, limited():
            config, nodes = configuration.load(files, document.overrides, SCHEMA_FILE)
            plan(config, nodes)
    except InputError as error:
        sentence = str(error)
        assert len(sentence) <= CHARACTERS and sentence.isprintable(), sentence
        return sentence, 0
    return None, len(nodes)


@contextlib.contextmanager
def written(document: Document) -> Iterator[list[str]]:
    """The values of `--configfile` that give Snakemake `document`.

    What Snakemake's own reading of `--configfile` would fail at becomes config/config.yaml.
    """
    file = Path("config/config.yaml") if document.damaged else Path("fuzzed.yaml")
    file.unlink(missing_ok=True)
    file.write_bytes(document.content)
    try:
        yield [] if document.damaged else [str(file)]
    finally:
        file.unlink()
        if document.damaged:
            file.symlink_to(ROOT / file)


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Raise TooLong where that is due; check that no more than `BYTES` were added."""

    def stop(*_):
        raise TooLong(f"no word within {SECONDS} seconds of work or {WAITING} of waiting")

    timers = {
        signal.ITIMER_PROF: (signal.SIGPROF, SECONDS),
        signal.ITIMER_REAL: (signal.SIGALRM, WAITING),
    }
    before = {number: signal.signal(number, stop) for number, _ in timers.values()}
    peak = peak_bytes()
    for timer, (_, seconds) in timers.items():
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for timer in timers:
            signal.setitimer(timer, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
    more = peak_bytes() - peak  # than what the tests hold that are imported already
    assert more <= BYTES, f"{more / BYTES:.1f} GB of memory"


def peak_bytes() -> int:
    """The most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def plan(config: dict, nodes: list[study.Node]) -> None:
    """Compute what the Snakefile computes before the first job."""
    from snakemake.utils import format as format_shell

    images = {name: images_of(config, name) for name in {node.dataset for node in nodes}}
    paths = []
    for node in nodes:
        settings, known = study.node_settings(config, node), images[node.dataset]
        json.dumps([study.task(config, node), study.files(config, node)], allow_nan=False)
        resources.request(settings, known, config["device"]).attempt(3)
        outputs = study.node_outputs(config, node)
        paths += [*study.node_inputs(config, node).values(), outputs["metrics"]]
    assert not set("{}<>") & set("".join(paths)), "Snakemake would take these for patterns"
    assert shlex.split(format_shell("{paths:q}", paths=paths[:50])) == paths[:50]
    assert sum(map(len, study.packs(config, nodes, config["networks_per_job"]))) == len(nodes)
    coordinates = [node.coordinates() for node in nodes]
    for name in figures.FIGURES:
        with contextlib.suppress(figures.NothingToShow):
            figures.plan(name, coordinates, {**config["figures"][name], **study.ways(config)})
    json.dumps([config["figures"], config["claims"]], allow_nan=False)


def dry_run(document: Document, sentence: str | None) -> None:
    """Give `document` to Snakemake, and check that it agrees with `outcome`.

    Raises:
        AssertionError: it does not agree, or shows Python's traceback.
    """
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "rules"]
    command += ["--config", *document.overrides] if document.overrides else []
    with written(document) as files:
        run = subprocess.run(
            [*command, "--configfile", *files] if files else command,
            env={**os.environ, "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
    output = run.stdout + run.stderr
    assert "Traceback (most recent call last)" not in output, output
    assert (run.returncode == 0) == (sentence is None), output
    if sentence:
        assert sentence.partition(": ")[2] in output, f"{sentence}\n{output}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=1000, help="default: 1000")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument(
        "--dry-runs", type=float, default=0.1, help="share to give to Snakemake (default: 0.1)"
    )
    parser.add_argument("--failures", type=Path, help="folder to write the files that failed to")
    arguments = parser.parse_args()
    failures = arguments.failures and arguments.failures.resolve()
    counts: Counter[str] = Counter()
    chance = random.Random(arguments.seed)
    longest = 0.0

    @seed(arguments.seed)
    @settings(
        max_examples=arguments.examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(documents())
    def one(document: Document) -> None:
        nonlocal longest
        counts["examples"] += 1
        if counts["examples"] % 100 == 0:
            print(f"{time.strftime('%X')} {dict(counts)}", file=sys.stderr, flush=True)
        start = time.process_time()
        try:
            sentence, networks = outcome(document)
            longest = max(longest, time.process_time() - start)
            counts["refused" if sentence else "accepted"] += 1
            if chance.random() < arguments.dry_runs and networks <= 2000:
                counts["dry runs"] += 1
                dry_run(document, sentence)
        except (Exception, TooLong) as error:
            counts["failures"] += 1
            print(f"{type(error).__name__}: {error}\n{document}", file=sys.stderr, flush=True)
            if failures:
                failures.mkdir(parents=True, exist_ok=True)
                (failures / f"{counts['examples']}.yaml").write_bytes(document.content)

    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        checkout(Path())
        one()
    for what, count in counts.items():
        print(f"{what}: {count}")
    megabytes = peak_bytes() / 2**20
    print(f"longest: {longest:.1f} s of CPU time; most memory: {megabytes:.0f} MB")
    sys.exit(bool(counts["failures"]))


if __name__ == "__main__":
    main()
