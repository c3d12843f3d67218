"""Which variables begin as settings do, `DURE_`, and are none."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from dure_hub.settings.knobs import Settings

PREFIX = "DURE_"
OTHERS = frozenset(
    {
        # what the portal says to its own processes, to servers, jobs, schedules and what they run
        *("DURE_ENDS_AT", "DURE_EXECUTION", "DURE_EXECUTION_FILE", "DURE_HTTPS", "DURE_JOB", "DURE_JOB_FILE"),
        *("DURE_KIND", "DURE_LEASE", "DURE_OWN_PYTHON", "DURE_PORTAL", "DURE_PROGRAMS", "DURE_REASON"),
        *("DURE_SERVICE", "DURE_VIEWER_LANGUAGE", "DURE_VIEWER_TOKEN"),
        # what people say to the SDK, to commands and to make
        *("DURE_HELM", "DURE_IMPORT_SECRET", "DURE_KUBECTL", "DURE_TOKEN", "DURE_TOKEN_FILE", "DURE_TORCH"),
        *("DURE_URL", "DURE_USER"),
        # what our tests are told
        *("DURE_CHROMIUM", "DURE_CLUSTER_FOLDER", "DURE_SHOTS", "DURE_Z2JH_CHART"),
    }
)
_TESTS = re.compile(r"DURE_(TEST|BENCH)_[A-Z0-9_]+")
_LINKS = re.compile(
    r"DURE_(ENVOY|MINIO|PORTAL|POSTGRESQL|REDIS)_"
    r"(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9]+)?|PORT(_\d+_(TCP|UDP)(_(ADDR|PORT|PROTO))?)?)"
)
"""What Kubernetes says of the chart's Services to pods that do not decline it."""


def unknown(names: Iterable[str]) -> dict[str, str]:
    """Those that look like settings and are nobody's, sorted, each with the setting that is most like it."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    found = (name for name in map(str.upper, names) if name.startswith(PREFIX))
    strange = sorted(name for name in found if name not in known | OTHERS and not _of_others(name))
    return {name: difflib.get_close_matches(name, known, n=1, cutoff=0)[0] for name in strange}


def _of_others(name: str) -> bool:
    return bool(_TESTS.fullmatch(name) or _LINKS.fullmatch(name))
