"""The portal's web service: the REST API, the pages, the check that Envoy asks."""

from __future__ import annotations

from dure_hub.services.application import application as application
