"""The checks of the distributed profile, apart from the others: they import the clients of Kafka and PostgreSQL."""

from typing import Final

from firsthour.operations.doctor import distributed_checks
from firsthour.operations.drain_kafka import KafkaEnds
from firsthour.operations.profile_checks import ProfileChecks

DISTRIBUTED_CHECKS: Final = ProfileChecks(distributed_checks.examine, KafkaEnds)
