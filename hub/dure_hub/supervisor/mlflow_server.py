"""MLflow's tracking server in one process on a Unix socket: `python -m dure_hub.supervisor.mlflow_server`.

`mlflow server` would keep a second process of 250 MB as parent, open its socket to everyone (mode 666) and want
the signing key in the environment, where every child and `ps e` can read it. This does what that command does,
with one worker (SQLite wants one), and reads the key from its file.
"""

from __future__ import annotations

import configparser
import os
import secrets
from pathlib import Path

from dure_hub.settings import DataFolder, Settings, load_settings
from dure_hub.supervisor.fronted import FrontedApp, key
from dure_hub.supervisor.sockets import listen, listen_at

PREFIX = "/services/mlflow"
PORTAL_USER = "dure-portal"
"""The first administrator that MLflow insists on. Nobody logs in as it: passwords are never asked for."""


def socket_path(settings: Settings) -> Path:
    """Where Envoy and the portal find MLflow."""
    return settings.folder.run / "mlflow.sock"


def environment(settings: Settings) -> dict[str, str]:
    """What MLflow reads from the environment; nothing of it is secret."""
    folder = settings.folder
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(folder.run / "mlflow-auth.ini"),
        "MLFLOW_SERVER_ALLOWED_HOSTS": "localhost",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_ENABLE_WORKSPACES": "false",
        "_MLFLOW_IN_JOB_EXECUTOR": "false",
        "_MLFLOW_SGI_NAME": "uvicorn",
        "_MLFLOW_STATIC_PREFIX": settings.at(PREFIX),
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder.db / 'mlflow.sqlite'}",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": f"{settings.artifacts}/mlflow",
    }


def write_auth_config(folder: DataFolder) -> Path:
    """The ini of MLflow's basic-auth application, mode 600: everyone reads, our function says who asks."""
    ini = configparser.ConfigParser(interpolation=None)
    ini["mlflow"] = {
        "default_permission": "READ",
        "database_uri": f"sqlite:///{folder.db / 'mlflow-auth.sqlite'}",
        "admin_username": PORTAL_USER,
        "admin_password": secrets.token_urlsafe(32),  # wanted only when the store is made; then forgotten
        "authorization_function": "dure_hub.mlflow_auth:authorize",
    }
    path = folder.run / "mlflow-auth.ini"
    temporary = path.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        ini.write(out)
    temporary.replace(path)
    return path


def main() -> None:
    """Serve until a signal ends it."""
    settings = load_settings(os.environ["DURE_DATA"])
    folder = settings.folder
    write_auth_config(folder)
    os.environ.update(environment(settings))
    # After exec, so that /proc/<pid>/environ does not show it; MLflow reads it from here and nowhere else.
    os.environ["MLFLOW_FLASK_SERVER_SECRET_KEY"] = folder.secret("mlflow-flask-key")

    import uvicorn
    from mlflow.server.auth import create_app
    from mlflow.server.handlers import initialize_backend_stores  # refuses another revision: only `up` migrates

    uri = os.environ["_MLFLOW_SERVER_FILE_STORE"]
    initialize_backend_stores(uri, uri, os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"])
    app, sockets = create_app(), [listen(socket_path(settings))]
    if settings.portal_host:
        app = FrontedApp(app, key(settings))
        sockets.append(listen_at(settings.own_host, settings.mlflow_port))
    config = uvicorn.Config(app, access_log=False, log_level="warning", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    server.run(sockets=sockets)


if __name__ == "__main__":
    main()
