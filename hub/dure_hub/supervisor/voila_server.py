"""Voila with the administrator's dashboards, on a Unix socket: `python -m dure_hub.supervisor.voila_server`.

It knows no logins. Envoy alone reaches it, after the portal's check has said who asks (`x-dure-user`) and, where a
dashboard is opened, with which token (`x-dure-viewer-token`). That token goes to the kernel of that page and to
nothing else; the service itself holds no secret.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dure_hub import dashboards
from dure_hub.settings import DataFolder, Settings, load_settings

CULL_EVERY_S = 60
CELL_FAILED = (
    "The portal's log has the details (dure portal-logs voila). "
    "자세한 내용은 포털 로그에 있습니다(dure portal-logs voila)."
)


def socket_path(settings: Settings) -> Path:
    """Where Envoy finds Voila."""
    return settings.folder.run / "voila.sock"


def environment(folder: DataFolder) -> dict[str, str]:
    """What Jupyter reads from the environment: nothing of the operating-system user's own Jupyter or IPython."""
    own = folder.run / "voila"
    return {
        "JUPYTER_CONFIG_DIR": str(own / "config"),
        "JUPYTER_NO_CONFIG": "1",
        "JUPYTER_DATA_DIR": str(own / "data"),
        "JUPYTER_RUNTIME_DIR": str(own / "runtime"),
        "JUPYTER_PATH": str(dashboards.data_path()),
        "IPYTHONDIR": str(own / "ipython"),
        "MPLCONFIGDIR": str(own / "matplotlib"),
        "PYTHONSAFEPATH": "1",
    }


def configuration(settings: Settings) -> dict[str, Any]:
    """Voila's configuration, whole: it reads no other."""
    idle_s = settings.dashboard_idle_s
    return {
        "Voila": {
            "base_url": f"{settings.at(dashboards.PREFIX)}/",
            "root_dir": str(dashboards.notebooks()),
            "open_browser": False,
            "connection_dir_root": str(settings.folder.run / "voila"),
            "log_level": "WARN",
            "tornado_settings": {
                "headers": headers(),
                # The check in front has judged where a write comes from; cookies do not come this far.
                "disable_check_xsrf": True,
                "settings_of_portal": settings,
            },
        },
        "VoilaConfiguration": {
            "template": dashboards.TEMPLATE,
            "allow_template_override": "NO",
            "allow_theme_override": "NO",
            "strip_sources": True,
            "show_tracebacks": False,
            "preheat_kernel": False,
            "extension_allowlist": list(dashboards.EXTENSIONS),
            "file_allowlist": [],
            "http_header_envs": ["x-dure-user", "x-dure-viewer-token", "x-dure-viewer-language"],
            "multi_kernel_manager_class": "dure_hub.supervisor.voila_handlers.ViewerKernels",
            "kernel_spec_manager_class": "dure_hub.supervisor.voila_handlers.OwnPython",
            "resources": {
                "dure": {"language": settings.language, "dashboards": dashboards.SHOWN, "root": settings.at("")}
            },
        },
        "VoilaExecutor": {"cell_error_instruction": CELL_FAILED},
        # A page that is looked at asks every few seconds; one in the background does not keep its kernel.
        "MappingKernelManager": {
            "cull_idle_timeout": idle_s,
            "cull_interval": max(1, min(CULL_EVERY_S, idle_s // 4)),
            "cull_connected": True,
        },
        "NotebookNotary": {"db_file": ":memory:"},
    }


def headers() -> dict[str, str]:
    """What every answer carries: nothing from elsewhere, no frame, and no tie to the window that opened it."""
    policy = (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        "connect-src 'self'; object-src 'none'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "X-Frame-Options": "DENY",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Opener-Policy": "noopener-allow-popups",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "same-origin",
    }


def main() -> None:
    """Serve until a signal ends it."""
    settings = load_settings(os.environ["DURE_DATA"])
    own = settings.folder.run / "voila"
    own.mkdir(mode=0o700, exist_ok=True)
    os.environ.update(environment(settings.folder))

    # After the environment is as it should be: Jupyter looks at it while it is imported.
    from dure_hub.supervisor.voila_handlers import serve

    serve(configuration(settings), socket_path(settings))


if __name__ == "__main__":
    main()
