"""Reading, claiming, settling, trimming, and what a server that is full or gone replies."""

# ruff: noqa: F401, F403 - imported to be collected here

from tests.integration.test_connect import (
    test_a_wrong_password_is_told_at_once,
    test_loading_is_waited_out,
    test_refusals_of_a_full_server_pass,
    test_replies_are_bytes_and_streams_dictionaries,
)
from tests.integration.test_housekeeping import *
from tests.integration.test_pressure import *
from tests.integration.test_settle import *
