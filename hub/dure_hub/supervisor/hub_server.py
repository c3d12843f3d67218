"""JupyterHub with the portal's configuration, wherever that is: `python -m dure_hub.supervisor.hub_server`."""

from __future__ import annotations

from dure_hub.supervisor.services import hub_config


def main() -> None:
    """Serve until a signal ends it. `DURE_DATA` names a folder that is prepared."""
    from jupyterhub.app import JupyterHub

    JupyterHub.launch_instance(["-f", str(hub_config())])


if __name__ == "__main__":
    main()
