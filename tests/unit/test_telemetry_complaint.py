from __future__ import annotations

from structlog.testing import capture_logs

from telemetry.complaint import Complaint


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_trouble_is_said_once_and_its_end_once_it_has_lasted() -> None:
    clock = Clock()
    complaint = Complaint("broken", "mended", {"part": "x"}, quiet_s=5, clock=clock)
    with capture_logs() as logs:
        complaint.did_not_happen()
        complaint.happened(error="first")
        clock.now = 4.0
        complaint.did_not_happen()
        complaint.happened(error="again")
        clock.now = 8.9
        complaint.did_not_happen()
        assert [line["event"] for line in logs] == ["broken"]
        clock.now = 9.0
        complaint.did_not_happen()
        complaint.did_not_happen()
        complaint.happened(error="later")
    assert logs == [
        {"event": "broken", "part": "x", "error": "first", "log_level": "warning"},
        {"event": "mended", "part": "x", "log_level": "info"},
        {"event": "broken", "part": "x", "error": "later", "log_level": "warning"},
    ]
