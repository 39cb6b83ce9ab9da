"""The live configuration, the log of vectors, and how far the indexers have come."""

# ruff: noqa: F401, F403 - imported to be collected here

from tests.integration.test_control import (
    test_a_change_based_on_an_old_version_is_refused,
    test_a_change_sets_nothing_but_itself,
    test_a_malformed_change_changes_nothing,
    test_a_malformed_hash_is_poison,
    test_nothing_set_means_the_defaults,
    test_of_many_changes_at_once_one_wins_each_version,
)
from tests.integration.test_index_age import (
    test_the_oldest_change_that_is_unread_or_pending_counts,
    test_without_a_group_nobody_knows,
)
from tests.integration.test_vectors_log import *
