"""What the routes of all dialects share: models, and what computes."""

import functools
from dataclasses import dataclass

from clearhead.serve.http.endpoint import Endpoints
from clearhead.serve.http.keys import Keys
from clearhead.serve.metrics import Metrics
from clearhead.serve.models import Models
from clearhead.serve.settings import ServeSettings
from clearhead.serve.work.service import Service


@dataclass(frozen=True)
class Site:
    """A server without its HTTP."""

    settings: ServeSettings
    models: Models
    service: Service
    metrics: Metrics
    keys: Keys

    @functools.cached_property
    def endpoints(self) -> Endpoints:
        """Makes routes; one for all dialects, since it counts the requests of a key."""
        return Endpoints(self.service, self.settings, self.keys)

    def close(self) -> None:
        """Ends all threads."""
        self.service.close()
