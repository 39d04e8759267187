"""What Snakemake prints of a failed job: a sentence, not the job's command.

The Snakefile imports this module; it needs no torch.
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from snakemake_interface_logger_plugins.common import LogEvent

LONGEST = 500  # characters of a log's last line
COMMAND = re.compile("RuleException:\nCalledProcessError.*Command '.*' (.+)", re.DOTALL)
# Where what an executor says of a job ends.
NO_NEWS = re.compile("For further error details|Detailed failure reason|\n")


def shorten(record: logging.LogRecord) -> bool:
    """A filter for Snakemake's logger: say in one sentence what made a job fail.

    It holds what SLURM says, the last line of the job's log, and where the logs are. The command is
    left out (`snakemake --show-failed-logs` has all), but not that it was killed.
    """
    fields = vars(record)  # Snakemake's own among them
    event = fields.get("event")
    if event is LogEvent.JOB_ERROR:
        said = fields["rule_msg"]
        started = said is None or "external_jobid" in fields["aux"]
        logs = fields["log"] if started else []
        record.msg = sentence(fields["rule_name"], fields["output"], said, logs)
        fields["event"] = fields["args"] = None
    elif event is LogEvent.ERROR and (command := COMMAND.match(record.getMessage())):
        record.msg, record.args = f"A command {command[1]}", None
        return "exit status 1." not in record.msg  # else the report of the job says more
    return True


def sentence(rule: str, outputs: Sequence[str], said: str | None, logs: Sequence[str]) -> str:
    """Say why a job failed.

    Args:
        rule: the job's rule.
        outputs: its files, of which the first is named.
        said: what the executor says, if anything; the start of its first line counts.
        logs: the job's own log, then those of the executor; none if the job never started.
    """
    words = [f"{rule} failed" + (f" to make {outputs[0]}" if outputs else "")]
    if said:
        words.append(NO_NEWS.split(said.strip())[0].strip())
    words += [last_line(log, "error: ") for log in logs[1:]]  # SLURM's, among Snakemake's
    words += [last_line(log) for log in logs[:1]]
    if logs:
        words.append(f"Logs: {', '.join(logs)}")
    return " ".join(f"{part.rstrip('.')}." for part in words if part)


def last_line(log: str, holding: str = "") -> str:
    """The last line of a log that is not empty and holds this text; nothing if there is none."""
    try:
        text = Path(log).read_bytes()[-4096:].decode(errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip() and holding in line]
    return lines[-1][-LONGEST:] if lines else ""
