"""Taking decisions, reporting on them, relaying them, and bringing dead letters back."""

# ruff: noqa: F401 - imported to be collected here

from tests.integration.test_dead import (
    test_a_letter_written_by_others_is_seen_and_purged_but_not_replayed,
    test_a_source_that_is_no_stream_is_left_alone,
    test_a_task_that_was_decided_since_is_not_replayed,
    test_listing_reads_every_page,
    test_replay_restores_the_very_bytes_and_forgets_the_task,
    test_two_replays_at_once_put_each_letter_back_once,
)
from tests.integration.test_ops_master import (
    test_a_malformed_decision_becomes_a_dead_letter,
    test_one_that_slept_through_its_lease_reports_nothing,
    test_take_and_report,
    test_what_is_given_back_is_offered_at_once,
)
from tests.integration.test_ops_relay import (
    test_a_finished_and_expired_job_is_not_enqueued_again,
    test_a_queue_key_of_another_type_loses_nothing,
    test_a_relay_that_slept_through_its_lease_moves_nothing,
    test_after_the_window_a_waiting_job_is_kept_and_a_finished_one_runs_anew,
)
