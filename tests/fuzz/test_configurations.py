"""Configurations by the hundred, of which each is planned or refused; the long run is a program."""

from configurations import checkout, outcome
from hypothesis import HealthCheck, given, settings
from strategies import Document, documents
from vocabulary import STUDY


def test_the_study_that_is_changed_can_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkout(tmp_path)
    sentence, networks = outcome(Document(str(STUDY).encode()))
    assert sentence is None and networks == 2 * (1 + 3) + 2 * (1 + 2 * 3 * 3) + 2 * 2 * 2 * 3


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(document=documents())
def test_every_configuration_is_planned_or_refused_in_a_sentence(fuzzed, document):
    outcome(document)
