"""A migration as those hear of it who listen to a real RabbitMQ."""

from __future__ import annotations

import queue
from typing import Any

import oslo_messaging
import pytest
from oslo_config import cfg

from benchkit import scale
from benchkit.crowd import server_uuid

OPTIONS = """
[notifications]
notification_format = versioned
[oslo_messaging_notifications]
driver = messagingv2
"""
MIGRATION = (
    ("instance.live_migration_pre.start", "nova-compute:host001"),
    ("instance.live_migration_pre.end", "nova-compute:host001"),
    ("instance.live_migration_post.start", "nova-compute:host000"),
    ("instance.live_migration_post_dest.start", "nova-compute:host001"),
    ("instance.live_migration_post_dest.end", "nova-compute:host001"),
    ("instance.live_migration_post.end", "nova-compute:host000"),
)


class Listener:
    """An endpoint of oslo.messaging."""

    def __init__(self) -> None:
        self.heard: queue.Queue[tuple[str, str, dict[str, Any]]] = queue.Queue()

    def info(self, context: Any, publisher: str, event_type: str, payload: dict[str, Any], metadata: Any) -> None:
        self.heard.put((event_type, publisher, payload))


@pytest.mark.timeout(600)
def test_a_migration_is_heard_of_from_its_begin_to_its_end() -> None:
    with scale.crowd_of(scale.Sizes(hosts=2, servers=4, conductors=1), OPTIONS) as crowd:
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[])
        transport = oslo_messaging.get_notification_transport(conf, url=crowd.broker)
        listener, target = Listener(), oslo_messaging.Target(topic="versioned_notifications")
        server = oslo_messaging.get_notification_listener(transport, [target], [listener], executor="threading")
        server.start()
        try:
            done = scale.migrate(crowd, 0, 1)
            heard: list[tuple[str, str, dict[str, Any]]] = []
            while not heard or heard[-1][0] != MIGRATION[-1][0]:
                heard.append(listener.heard.get(timeout=60))
        finally:
            server.stop()
            server.wait()
            transport.cleanup()
    assert done.done == 1
    told = [each for each in heard if each[0].startswith("instance.")]
    assert [(event, publisher) for event, publisher, _ in told] == list(MIGRATION)
    datas = [payload["nova_object.data"] for _, _, payload in told]
    assert {data["uuid"] for data in datas} == {server_uuid(0)}
    assert [data["host"] for data in datas] == ["host000"] * 3 + ["host001"] * 3
    assert datas[0]["task_state"] == "migrating" and datas[-1]["task_state"] is None
    assert {data["action_initiator_user"] for data in datas} == {"admin"}
