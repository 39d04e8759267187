"""How jobs get into the queue of a SLURM cluster: what is asked before, and what happens when SLURM
is busy.

What Snakemake's SLURM plugin (2.8.0) lacks is put into it here. The Snakefile imports this module.
"""

import contextlib
import subprocess
import threading
from collections import Counter
from collections.abc import Iterable
from typing import Any

import snakemake_executor_plugin_slurm as plugin
from snakemake_executor_plugin_slurm.submit_string import get_submit_command
from snakemake_executor_plugin_slurm.utils import get_job_wildcards, set_gres_string

from bayesian_lottery.errors import InputError
from bayesian_lottery.running import partitions
from bayesian_lottery.running.resources import Request

ELSEWHERE = ("slurm_cluster", "cluster", "clusters")  # whose partitions are not this cluster's
PAUSES = (10, 20, 40, 80, 160, 300)  # seconds until a busy SLURM is asked again; then the last


def prepare(executor: Any, jobs: Iterable[Any]) -> str | None:
    """Make the plugin ready for `jobs`; return what the user should know, or None.

    Where no partition is named and SLURM's default one does not take the jobs, the one that does
    becomes the plugin's default.

    Raises:
        InputError: SLURM would refuse a job, or let it wait for ever; the sentence says why.
    """
    stay_with_squeue()
    wait_while_busy()
    named, free = _distinct(executor, jobs)
    available = partitions.partitions()
    for names, asked in named.items():
        there = [p for p in available if p.name in names.split(",")]
        if not there:
            raise InputError(
                f"There is no partition {names}, but {', '.join(p.name for p in available)}. "
                f"Edit slurm_partition in {partitions.PROFILE}."
            )
        partitions.choose(there, asked)
    if not free:
        return None
    chosen = partitions.choose(available, free)
    plugin.get_default_partition = lambda job, logger: chosen.name
    if chosen.default:
        return None
    rule = next(iter(free.values()))[0]
    return (
        f"Jobs go to partition {chosen.name}, because SLURM's default does not take what {rule} "
        f"asks for. slurm_partition in {partitions.PROFILE} chooses another."
    )


def _distinct(executor: Any, jobs: Iterable[Any]) -> tuple[dict[str, dict], dict[str, tuple]]:
    """The distinct submissions among `jobs`, each with a rule and a request: those with a partition
    by its name, and those without one."""
    named: dict[str, dict] = {}
    free: dict[str, tuple] = {}
    accounts: dict[str, str] = {}
    for job in jobs:
        resources = job.resources
        numbers = [resources.get(name) or 0 for name in ("gpu", "mem_mb", "runtime")]
        known = all(isinstance(number, int) for number in numbers)  # else once its inputs are there
        if not known or job.group or any(resources.get(name) for name in ELSEWHERE):
            continue
        account = str(resources.get("slurm_account"))
        if account not in accounts:
            accounts[account] = next(executor.get_account_arg(job))
        parameters = {
            "run_uuid": "test",
            "slurm_logfile": "/dev/null",
            "comment_str": "",
            "account": accounts[account],
            "partition": "",
            "workdir": "",
        }
        command = get_submit_command(job, parameters, settings=executor.workflow.executor_settings)
        command += set_gres_string(job)
        names = resources.get("slurm_partition")
        if not names and executor._partitions:  # --slurm-partition-config
            names = executor.get_partition_arg(job).removeprefix(" -p ")
        asked = named.setdefault(str(names), {}) if names else free
        asked.setdefault(command, (job.rule.name, Request(*numbers)))
    return named, free


def stay_with_squeue() -> None:
    """Keep the plugin from leaving squeue for sacct when the controller is away for a while.

    It asks the controller again and again how long it remembers finished jobs, and takes no answer
    as "not long enough". Where no accounts are kept, sacct then fails for ever, and Snakemake waits
    for ever. So the first answer counts.
    """
    if age := plugin.get_min_job_age():
        plugin.get_min_job_age = lambda: age


def wait_while_busy() -> None:
    """Make the plugin submit a job again that a busy SLURM has not taken, at no cost of a retry.

    A job that SLURM refuses for good is not tried again, and says why in a sentence.
    """
    report = plugin.Executor._report_job_error_threadsafe
    refusals: Counter = Counter()

    def report_or_wait(executor: Any, job_info: Any, msg: str) -> None:
        job, words = job_info.job, msg.partition("sbatch call:")[0].strip()
        if not partitions.BUSY.search(words):
            job.attempt = job.restart_times + 1
            report(executor, job_info, words)
            return
        pause = PAUSES[min(refusals[job], len(PAUSES) - 1)]
        refusals[job] += 1
        if refusals[job] <= len(PAUSES):
            executor.logger.info(f"{words} Job {job.jobid} is submitted again in {pause} s.")
        _submit_later(executor, job, pause)

    plugin.Executor._report_job_error_threadsafe = report_or_wait


def _submit_later(executor: Any, job: Any, seconds: float) -> None:
    timer = threading.Timer(seconds, _submit, [executor, job])
    timer.daemon = True
    timer.start()


def _submit(executor: Any, job: Any) -> None:
    """Submit a job again, unless Snakemake has ended meanwhile or SLURM still does not answer.

    SLURM may have taken the job, though its answer was lost: then that one goes, for two would
    write the same files.
    """
    wildcards = get_job_wildcards(job)
    comment = f"rule_{job.name}" + (f"_wildcards_{wildcards}" if wildcards else "")
    fields = "--Format=JobID:|,Comment:4000"
    queue = ["squeue", "--me", "--noheader", f"--name={executor.run_uuid}", fields]
    try:
        lines = subprocess.run(queue, capture_output=True, text=True, check=True, timeout=60).stdout
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        _submit_later(executor, job, PAUSES[0])
        return
    for number, other in (line.split("|", 1) for line in lines.splitlines()):
        if other.strip() == comment:
            subprocess.run(["scancel", number], check=False)
    with contextlib.suppress(RuntimeError):  # Snakemake has ended
        executor._job_submission_executor.submit(executor.run_job, job)
