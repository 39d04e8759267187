"""What a log is told of something long."""

from bayesian_lottery import meter
from bayesian_lottery.running import progress


def test_a_log_gets_a_line_every_ten_seconds_and_the_last_with_the_time_left(capsys, monkeypatch):
    clock = iter([0, 1, 10, 12, 19, 20, 40])
    monkeypatch.setattr(meter.time, "perf_counter", lambda: next(clock))
    shown = meter.Meter("step", 80, first=20)
    for done in (21, 30, 40, 41, 50, 80):
        shown.show(done, lambda: ", loss 0.5")
    shown.close()
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "step 30/80, loss 0.5, 0m50s left",
        "step 50/80, loss 0.5, 0m20s left",
        "step 80/80, loss 0.5, 0m00s left",
    ]
    assert progress._PROGRESS.search(lines[0]).groups() == ("30", "80", "0", "50")
