"""What Snakemake prints of a failed job."""

import logging

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from bayesian_lottery.running.failures import shorten

OUTPUT = "results/runs/x/metrics.json"


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "x.log"
    path.write_text("epoch 1\nTraceback: ...\ndatasets.x: no such folder.\n\n")
    return str(path)


def shown(event: LogEvent, message: str, **extra) -> str | None:
    """What a record of Snakemake's says after the filter; None if nothing."""
    record = logging.LogRecord("snakemake", logging.ERROR, "", 0, message, (), None)
    vars(record).update(event=event, **extra)
    return record.getMessage() if shorten(record) else None


def failed(log: str, said: str | None, *more: str, **aux) -> str | None:
    command = "python scripts/train.py --node ..."
    logs = [log, *more]
    fields = {"rule_name": "train_level", "output": [OUTPUT], "log": logs, "shellcmd": command}
    return shown(LogEvent.JOB_ERROR, "Error in rule", rule_msg=said, aux=aux, **fields)


def test_a_local_job_says_the_last_line_of_its_log(log):
    assert failed(log, None) == (
        f"train_level failed to make {OUTPUT}. datasets.x: no such folder. Logs: {log}."
    )


def test_a_submitted_job_says_what_slurm_said_too(log, tmp_path):
    said = "SLURM-job '7' failed, SLURM status is: 'TIMEOUT'. Detailed failure reason unavailable."
    slurm = tmp_path / "7.log"
    slurm.write_text(
        "Building DAG of jobs...\n"
        "slurmstepd: error: *** JOB 7 ON g1 CANCELLED DUE TO TIME LIMIT ***\n"
        "WorkflowError:\nAt least one job did not complete successfully.\n"
    )
    assert failed(log, said, str(slurm), external_jobid="7") == (
        f"train_level failed to make {OUTPUT}. SLURM-job '7' failed, SLURM status is: 'TIMEOUT'. "
        "slurmstepd: error: *** JOB 7 ON g1 CANCELLED DUE TO TIME LIMIT ***. "
        f"datasets.x: no such folder. Logs: {log}, {slurm}."
    )


def test_a_job_that_never_started_says_nothing_of_an_old_log(log):
    said = "SLURM sbatch failed. The error message was 'Invalid account'.\nFor further error ..."
    assert failed(log, said).endswith("The error message was 'Invalid account'.")


def test_without_a_log_the_place_where_it_would_be_is_named(tmp_path):
    assert failed(str(tmp_path / "none.log"), None).endswith(f"Logs: {tmp_path}/none.log.")


def test_a_command_is_not_repeated_but_how_it_ended():
    text = "RuleException:\nCalledProcessError in file \"a.smk\", line 3:\nCommand '{}' {}"
    command = "python x --node '{\"a\": 1}'\n  > log"
    assert shown(LogEvent.ERROR, text.format(command, "returned non-zero exit status 1.")) is None
    killed = shown(LogEvent.ERROR, text.format(command, "returned non-zero exit status 137."))
    assert killed == "A command returned non-zero exit status 137."


def test_other_records_stay():
    assert shown(LogEvent.ERROR, "MissingOutputException: x") == "MissingOutputException: x"
    assert shown(LogEvent.JOB_INFO, "Job 3") == "Job 3"
