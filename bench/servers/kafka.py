"""Kafka for the events. Only a dead one is measured, for which nothing need be started."""


def toml(port: int) -> str:
    """The sink for events that would go to a broker at this port."""
    return (f'[event.sink.log]\nkind = "kafka"\n[event.sink.log.kafka]\nbrokers = ["localhost:{port}"]\n'
            'topic = "brama.events"\ncreate_topic = true\nreplication = 1\n')
