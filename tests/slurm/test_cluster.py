"""The test cluster does what the other tests take for granted."""

from pathlib import Path

import pytest
from cluster import Cluster, ClusterError

pytestmark = pytest.mark.slurm


def test_all_nodes_are_idle(idle_cluster: Cluster) -> None:
    assert idle_cluster.nodes == ["g1", "g2", "c1"]
    assert idle_cluster.node_states() == {"g1": "idle", "g2": "idle", "c1": "idle"}


def test_a_job_sees_its_gpu_only(idle_cluster: Cluster, tmp_path: Path) -> None:
    output = tmp_path / "output"
    show = 'srun sh -c "echo $CUDA_VISIBLE_DEVICES"'
    job = idle_cluster.submit(show, "-p", "gpu", "--gpus=1", f"--output={output}")
    idle_cluster.wait_for_state(job, "COMPLETED")
    assert output.read_text().strip() == "0"


def test_gpus_are_not_shared(idle_cluster: Cluster, tmp_path: Path) -> None:
    command = f"touch {tmp_path}/$CUDA_VISIBLE_DEVICES; sleep 60"
    options = ["-p", "gpu", "--gpus=1", "-w", "g1"]
    jobs = [idle_cluster.submit(command, *options) for _ in range(4)]
    for job in jobs:
        idle_cluster.wait_for_state(job, "RUNNING")
    fifth = idle_cluster.submit(command, *options)
    idle_cluster.wait_for(
        lambda: idle_cluster.squeue()[fifth].reason == "(Resources)", 10, "the fifth job to queue"
    )
    assert sorted(file.name for file in tmp_path.iterdir()) == ["0", "1", "2", "3"]
    idle_cluster.scancel(jobs[0])
    idle_cluster.wait_for_state(fifth, "RUNNING")


def test_preemption_requeues_a_scavenger(idle_cluster: Cluster) -> None:
    low = idle_cluster.submit("sleep 60", "-p", "scavenge", "--gpus=4", "-w", "g1")
    idle_cluster.wait_for_state(low, "RUNNING")
    high = idle_cluster.submit("sleep 1", "-p", "gpu", "--gpus=4", "-w", "g1")
    idle_cluster.wait_for_state(high, "COMPLETED")
    assert idle_cluster.wait_for_state(low, "RUNNING").restarts == 1


def test_a_killed_node_takes_its_job_along_and_comes_back(
    idle_cluster: Cluster, tmp_path: Path
) -> None:
    beats = tmp_path / "beats"
    command = f"for i in $(seq 60); do echo beat >> {beats}; sleep 0.2; done"
    job = idle_cluster.submit(command, "-w", "c1", "--no-requeue")
    idle_cluster.wait_for(beats.exists, 10, "the job to start")
    idle_cluster.kill_node("c1")
    assert idle_cluster.squeue()[job].state == "NODE_FAIL"
    assert idle_cluster.node_states()["c1"] == "down"
    counted = beats.read_text()
    idle_cluster.restore_node("c1")
    assert idle_cluster.node_states()["c1"] == "idle"
    assert beats.read_text() == counted, "the job outlived its node"


def test_a_job_outlives_its_controller(idle_cluster: Cluster) -> None:
    job = idle_cluster.submit("sleep 3")
    idle_cluster.wait_for_state(job, "RUNNING")
    idle_cluster.restart_controller()
    assert idle_cluster.squeue()[job].state == "RUNNING"
    assert idle_cluster.wait_for_state(job, "COMPLETED").restarts == 0


def test_a_job_above_its_memory_is_killed(idle_cluster: Cluster, tmp_path: Path) -> None:
    output = tmp_path / "output"
    hog = 'python3 -c "import time; hog = bytearray(300 << 20); time.sleep(60)"'
    job = idle_cluster.submit(hog, "--mem=100", f"--output={output}")
    idle_cluster.wait_for_state(job, "FAILED")
    assert "exceeded memory limit" in output.read_text()


def test_no_second_cluster(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match="already running"):
        Cluster().start()
    assert cluster.running()
