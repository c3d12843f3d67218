"""People's servers as processes of this machine."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from dure_hub import dashboards
from dure_hub.backends.base import ServerWork
from dure_hub.isolation import accounts, confine, ground, pythons
from dure_hub.operations import shared_folders
from dure_hub.spawners import https_cookies
from dure_hub.spawners.folder import folder_of, prepare_folder
from dure_hub.spawners.leased import LeasedSpawner

INHERITED = (
    "PATH", "LANG", "LC_ALL", "TZ", "SHELL", "LD_LIBRARY_PATH", "CUDA_HOME", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip
"""What a server sees of the hub's own environment. Nothing else: the hub's holds secrets of the portal."""

PROGRAMS = str(Path(sys.executable).parent)
"""Where the portal's own are: `dure`, `jupyter`. A terminal puts it first once its profile has been read."""

LAB = (sys.executable, "-P", "-m", "dure_hub.spawners.jupyterhub_singleuser")
"""With -P, no `random.py` in a person's folder takes the place of Python's own."""


class DureLocalSpawner(LeasedSpawner):
    """One server of one person, as a process."""

    def __init__(self, **kwargs: Any) -> None:
        self.python: Path | None = None
        self.shared: Sequence[str] = ()
        super().__init__(**kwargs)
        self.ip = "127.0.0.1"
        self.env_keep = list(INHERITED)

    async def prepare(self) -> ServerWork:
        """Their folder, account, shared folders and Python."""
        # before the environment is made, and in a thread: the first start of a person makes their account
        await asyncio.to_thread(prepare_folder, self.operations.settings, self.user.name)
        self.shared = await shared_folders.arrange(self.operations.settings, self.operations.store, self.user.name)
        if self._runs_lab():
            self.python = await asyncio.to_thread(pythons.ensure, self.operations.settings, self.user.name)
        return self._work()

    def get_env(self) -> dict[str, str]:
        """The whole environment of the server but for its port and the backend's marks."""
        settings = self.operations.settings
        folder = str(folder_of(settings, self.user.name))
        environment = {key: value for key, value in super().get_env().items() if value is not None}
        return environment | {
            "PATH": f"{PROGRAMS}{os.pathsep}{environment.get('PATH', os.defpath)}",
            "LANG": environment.get("LANG", "C.UTF-8"),
            "HOME": folder,
            "USER": self.user.name,
            "LOGNAME": self.user.name,
            "DURE_URL": settings.front_url,
            "DURE_LANGUAGE": settings.language,
            **({https_cookies.SAID: "1"} if settings.address.startswith("https:") else {}),
            "MLFLOW_TRACKING_URI": f"{settings.front_url}/services/mlflow",
            "MLFLOW_TRACKING_TOKEN": self.api_token,
            "MLFLOW_EXPERIMENT_NAME": f"{self.user.name}/default",  # MLflow's own default is nobody's to write
            "JUPYTERHUB_SERVICE_URL": f"http://{self.ip}:{{port}}{self.server.base_url}",  # the backend's choice
            "JUPYTERHUB_ROOT_DIR": folder,
            "JUPYTERHUB_ACTIVITY_INTERVAL": str(settings.activity_interval_s),
            "JUPYTERHUB_DEFAULT_URL": "/lab",
            "JUPYTER_CONFIG_PATH": str(files("dure_hub.spawners") / "lab"),
            **self._apart(),
            "JUPYTER_PATH": os.pathsep.join(
                (str(dashboards.data_path()), str(files("dure_lab") / "share" / "jupyter"))
            ),
        }

    def _apart(self) -> dict[str, str]:
        """Where a server has its own /tmp, its kernels' sockets are in there: on loopback others could listen."""
        if not (accounts.is_on(self.operations.settings) and ground.own_tmp()):
            return {}
        places = [str(files("dure_hub.spawners") / name) for name in ("apart", "lab")]
        return {"JUPYTER_RUNTIME_DIR": f"{confine.TMP}/.jupyter", "JUPYTER_CONFIG_PATH": os.pathsep.join(places)}

    def _runs_lab(self) -> bool:
        """Whether it is our own server. What an image brings has a Python of its own."""
        return not (self._granted().command or self.operations.settings.server_command)

    def _own_python(self, environment: Mapping[str, str]) -> dict[str, str]:
        """What kernels and terminals need to work with their owner's Python. The server itself runs with ours,
        so that nothing that is installed there keeps anybody out."""
        if self.python is None:
            return {}
        own = pythons.environment(str(self.python), environment["PATH"])
        programs = f"{self.python / 'bin'}{os.pathsep}{PROGRAMS}"
        # an image may lack what this names, so it is no part of every server's configuration
        configured = (str(files("dure_hub.spawners") / "own"), environment["JUPYTER_CONFIG_PATH"])
        return {
            **own,
            "DURE_OWN_PYTHON": str(self.python),
            "DURE_PROGRAMS": programs,
            "JUPYTER_CONFIG_PATH": os.pathsep.join(configured),
        }

    def _work(self) -> ServerWork:
        granted, environment = self._granted(), self.get_env()
        environment |= self._own_python(environment)
        rooted = os.geteuid() == 0 and not accounts.is_on(self.operations.settings)
        lab = [*LAB, "--allow-root"] if rooted else LAB
        command = granted.command or self.operations.settings.server_command or lab
        return ServerWork(
            lease=granted.lease,
            owner=self.user.name,
            folder=Path(environment["HOME"]),
            environment=environment,
            devices=granted.devices,
            mps=granted.mps,
            cores=granted.cores,
            memory_mb=granted.memory_mb,
            shared=self.shared,
            command=command,
            name=self.name,
            api_token=self.api_token,
        )
