"""Which partition takes a job, from what sinfo and sbatch say."""

import math

import pytest

from bayesian_lottery.running.partitions import BUSY, NOT_NOW, lack, parse
from bayesian_lottery.running.resources import Request

SINFO = """\
cpu*|up|OFF|1-00:00:00|(null)|16000|idle
short|up|OFF|30:00|gpu:a100:4(S:0-1)|256000|mixed
gpu|up|OFF|2-12:00:00|gpu:v100:2,shard:v100:8(S:0)|64000|idle
gpu|up|OFF|2-12:00:00|gpu:4|128000+|down*
scavenge|up|REQUEUE|infinite|gpu:4|128000|idle~
old|down|OFF|infinite|gpu:8|128000|idle
"""


def partition(name: str):
    (found,) = (partition for partition in parse(SINFO) if partition.name == name)
    return found


def test_the_default_comes_first_and_what_is_down_last():
    names = [partition.name for partition in parse(SINFO)]
    assert names == ["cpu", "gpu", "short", "scavenge", "old"]


def test_a_partition_has_what_its_largest_node_has():
    assert partition("gpu")[4:] == (3600, 4, 128000, False)
    assert partition("short")[4:] == (30, 4, 256000, True)
    assert partition("scavenge")[4:] == (math.inf, 4, 128000, True)
    assert partition("cpu").gpus == 0 and partition("cpu").complete


@pytest.mark.parametrize(
    ("name", "request_", "reason", "entry"),
    [
        ("cpu", Request(1, 1000, 10), "no GPU", "slurm_partition"),
        ("gpu", Request(1, 130000, 10), "at most 128000 MB a node", "mem_mb"),
        ("short", Request(0, 1000, 31), "at most 30 minutes", "runtime"),
    ],
)
def test_what_a_partition_lacks(name, request_, reason, entry):
    assert lack(partition(name), request_, lambda: None) == (reason, entry)


@pytest.mark.parametrize(
    ("words", "entry"),
    [
        ("Invalid account or account/partition combination specified", "slurm_account"),
        ("Invalid qos specification", "qos"),
        ("Invalid feature specification", "constraint"),
        ("User's group not permitted to use this partition", "slurm_partition"),
        (f"Requested {NOT_NOW}", "slurm_partition"),
    ],
)
def test_what_slurm_refuses_for_good(words, entry):
    assert lack(partition("short"), Request(1, 1000, 10), lambda: words) == (
        f"refused ({words})",
        entry,
    )


@pytest.mark.parametrize(
    "words",
    [
        "QOSMaxSubmitJobPerUserLimit; Batch job submission failed: Job violates accounting/QOS "
        "policy (job submit limit, user's size and/or time limits)",
        "Batch job submission failed: Socket timed out on send/recv operation",
        "Slurm temporarily unable to accept job, sleeping and retrying",
        "Batch job submission failed: Unable to contact slurm controller (connect failure)",
    ],
)
def test_what_slurm_may_take_later_is_not_refused(words):
    assert BUSY.search(words)
    assert lack(partition("short"), Request(1, 1000, 10), lambda: words) is None


def test_a_limit_on_size_is_no_matter_of_waiting():
    words = "QOSMaxGRESPerUser; Job violates accounting/QOS policy (job submit limit, user's size)"
    assert lack(partition("short"), Request(1, 1000, 10), lambda: words)


def test_a_job_may_wait_for_nodes_that_are_down():
    words = f"allocation failure: Requested {NOT_NOW}"
    assert lack(partition("gpu"), Request(1, 1000, 10), lambda: words) is None
    assert lack(partition("short"), Request(1, 1000, 10), lambda: words)
