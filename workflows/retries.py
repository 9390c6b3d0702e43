"""How activities are retried that must succeed in the end."""

from datetime import timedelta

from temporalio.common import RetryPolicy

WAITING = RetryPolicy(
    initial_interval=timedelta(milliseconds=100), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=2)
)
"""A lost worker or database is waited for, for ever: the activity says itself what must not be retried."""
