"""What the machine tells of itself."""

from fuseport.validate import machine as subject


def test_this_machine_is_described():
    found = subject.machine()
    assert found.cores >= 1
    assert found.processor.startswith("CPU: ")
    assert len(found.processor) > len("CPU: ")
    assert found.memory_bytes is None or found.memory_bytes > 100e6
    assert found.cache_bytes is None or found.cache_bytes >= 16 * 1024
    assert found.python.startswith("3.")


def test_a_system_that_tells_nothing_is_described_all_the_same(monkeypatch):
    monkeypatch.setattr(subject, "_text", lambda path: "")
    monkeypatch.setattr(subject.platform, "processor", lambda: "")
    found = subject.machine()
    assert (found.memory_bytes, found.cache_bytes) == (None, None)
    assert found.processor == f"CPU: {subject.platform.machine()}"


def test_the_load_is_a_number_or_unknown(monkeypatch):
    load = subject.load_average()
    assert load is None or load >= 0

    def silent():
        raise OSError

    monkeypatch.setattr(subject.os, "getloadavg", silent)
    assert subject.load_average() is None
