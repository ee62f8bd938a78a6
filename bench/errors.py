"""What stops a run, in words for whoever started it."""


class BenchError(Exception):
    """Something is missing or went otherwise than measured."""


class Missing(BenchError):
    """A product or an endpoint is not there: its row says so and the run goes on."""
