"""The portal's services: Envoy, JupyterHub, the portal service, MLflow, Voila, the fork server for warm starts."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import dure_hub
from dure.errors import NotReady
from dure_hub import dashboards, dataplane
from dure_hub.backends.embedded import warm
from dure_hub.dataplane import Cluster, Fragment, Route
from dure_hub.settings import Settings
from dure_hub.supervisor import voila_server
from dure_hub.supervisor.mlflow_server import PREFIX, socket_path
from dure_hub.supervisor.spec import Ready, Service, answers, listens

NAMES = ("envoy", "hub", "portal", "mlflow", "voila", "warm")
CHECKED = ("cookie", "authorization", "origin")
"""What the portal's check reads and what lies behind it must not."""

NOT_FORKED = ("PYTHONUNBUFFERED", "USER", "LOGNAME", "DURE_SIMULATED_FLEET")
"""What servers are not given either; PYTHON... must be the same for the fork server as for those it forks."""

PASSED_ON = (
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "USER",
    "LOGNAME",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "DURE_SIMULATED_FLEET",
)


def checks(settings: Settings) -> dict[str, Ready]:
    """How each service is asked whether it is ready. Starts and changes nothing."""

    async def envoy() -> bool:
        try:
            return await dataplane.alive(settings)
        except NotReady:
            return False

    return {
        "envoy": envoy,
        "hub": answers(f"127.0.0.1:{settings.hub_port}", settings.at("/hub/api/")),
        "portal": answers(f"127.0.0.1:{settings.portal_port}", "/services/dure/health"),
        "mlflow": answers(f"unix:{socket_path(settings)}", f"{settings.at(PREFIX)}/health"),
        "voila": answers(f"unix:{voila_server.socket_path(settings)}", f"{settings.at(dashboards.PREFIX)}/health"),
        "warm": listens(warm.socket_path(settings)),
    }


def wanted(settings: Settings) -> tuple[str, ...]:
    """The services that this portal has."""
    return tuple(name for name in NAMES if name != "warm" or (settings.warm_starts and _forks(settings)))


def _forks(settings: Settings) -> bool:
    """Whether servers are this machine's own JupyterLab."""
    return not (settings.server_command or settings.on_cluster)


def portal_services(settings: Settings) -> list[Service]:
    """The services of this portal, with the ports that `settings` has resolved."""
    python, ready = sys.executable, checks(settings)
    bootstrap = dataplane.write_bootstrap(settings)
    envoy = dataplane.command(settings)
    services = [
        Service(
            name="envoy",
            title="Envoy",
            command=envoy,
            ready=ready["envoy"],
            environment=environment(settings, "envoy"),
            keep=True,
            fingerprint=fingerprint(bootstrap.read_text(), *envoy),
            start_limit_s=60,
        ),
        Service(
            name="hub",
            title="JupyterHub",
            command=[python, "-m", "jupyterhub", "-f", str(hub_config())],
            ready=ready["hub"],
            environment=environment(settings, "hub"),
            after=("envoy",),
        ),
        Service(
            name="portal",
            title="portal",
            command=[python, "-m", "dure_hub.app"],
            ready=ready["portal"],
            environment=environment(settings, "portal"),
            after=("envoy",),
        ),
        Service(
            name="mlflow",
            title="MLflow",
            command=[python, "-m", "dure_hub.supervisor.mlflow_server"],
            ready=ready["mlflow"],
            environment=environment(settings, "mlflow"),
            after=("envoy",),
            start_limit_s=180,
        ),
        Service(
            name="voila",
            title="Voila",
            command=[python, "-m", "dure_hub.supervisor.voila_server"],
            ready=ready["voila"],
            environment=environment(settings, "voila"),
            after=("envoy",),
        ),
        _warm(settings, ready["warm"]),
    ]
    return [service for service in services if service.name in wanted(settings)]


def _warm(settings: Settings, ready: Ready) -> Service:
    """The one that servers are forked from; started last: nobody who is waited for shares its processor."""
    program = "dure_hub.backends.embedded.forkserver"
    return Service(
        name="warm",
        title="warm starts",
        command=[sys.executable, "-P", "-m", program, str(settings.folder.root), warm.PROGRAM],
        ready=ready,
        environment=fork_environment(settings),
        after=("hub", "portal"),
        essential=False,
    )


def environment(settings: Settings, service: str) -> dict[str, str]:
    """The whole environment of a service: no secret is in it, and none of the caller's own variables but these."""
    folder = Path(sys.executable).parent
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {
        "LANG": "C.UTF-8",
        **passed,
        "PATH": os.pathsep.join([str(folder), os.environ.get("PATH") or os.defpath]),
        "PYTHONUNBUFFERED": "1",
        "DURE_DATA": str(settings.folder.root),
        "DURE_PORTAL": settings.instance,
        "DURE_SERVICE": service,
        **({"KUBECONFIG": str(settings.kubeconfig)} if settings.kubeconfig else {}),
    }


def fork_environment(settings: Settings) -> dict[str, str]:
    """What the fork server's imports see; of nobody, so neither home nor name of who runs the portal."""
    own = environment(settings, "warm")
    return {name: value for name, value in own.items() if name not in NOT_FORKED} | {"HOME": "/nonexistent"}


def routes(settings: Settings) -> Fragment:
    """What the front port leads to besides people's servers and endpoints."""
    hub, portal = "hub", "portal"
    return Fragment(
        clusters=(
            Cluster(hub, f"127.0.0.1:{settings.hub_port}"),
            Cluster(portal, f"127.0.0.1:{settings.portal_port}"),
            Cluster("mlflow", f"unix:{socket_path(settings)}"),
            Cluster("voila", f"unix:{voila_server.socket_path(settings)}"),
        ),
        routes=(
            *_hosts_of_people(settings),
            Route(settings.base_url, ((hub, 100),)),
            Route(settings.at("/services/dure/"), ((portal, 100),), rewrite=_moved(settings, "/services/dure/")),
            # Tokens only: without a cookie no page of somebody's server can act as its visitor here.
            Route(settings.at("/api/v1/"), ((portal, 100),), rewrite="/services/dure/api/v1/", strip=("cookie",)),
            # MLflow refuses foreign hosts and origins; the check before it has already judged both.
            Route(f"{settings.at(PREFIX)}/", (("mlflow", 100),), auth=True, strip=CHECKED, host="localhost"),
            # Of the viewer's token Voila gets what the check says, and where the check says it.
            Route(
                f"{settings.at(dashboards.PREFIX)}/", (("voila", 100),), auth=True, strip=CHECKED, host="localhost"
            ),
        ),
    )


def _moved(settings: Settings, path: str) -> str | None:
    """What takes the place of a path of the portal's own, which knows nothing of `base_url`."""
    return None if settings.at(path) == path else path


def _hosts_of_people(settings: Settings) -> tuple[Route, ...]:
    """On people's own hosts is nothing but their servers: their pages could read and do what else were there."""
    name = urlsplit(settings.subdomain_host).hostname
    return (Route("/", (), domain=f"*.{name}", redirect=settings.subdomain_host),) if name else ()


def of_other_places(settings: Settings, route: Route) -> bool:
    """Whether a route is from before people got hosts of their own, or lost them, or from another `base_url`."""
    other_host = route.prefix != "/" and bool(route.domain) != bool(settings.subdomain_host)
    return other_host or not route.prefix.startswith(settings.base_url)


def fingerprint(*parts: str) -> str:
    """Digest of what a running service cannot change any more."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def hub_config() -> Path:
    """jupyterhub_config.py: inside the installed package, beside it in a source tree."""
    inside = Path(dure_hub.__file__).parent
    found = inside / "jupyterhub_config.py"
    return found if found.exists() else inside.parent / "jupyterhub_config.py"
