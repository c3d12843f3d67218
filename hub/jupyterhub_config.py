"""JupyterHub of a Dure portal: names classes and hands them the portal's operations. No logic lives here.

`DURE_DATA` names the data folder, whose settings `dure up` has resolved.
"""

import os
from importlib.resources import files

from dure_hub.app import operations
from dure_hub.authenticator import DureAuthenticator
from dure_hub.backends.base import Feature
from dure_hub.cookies import FORM_PATH, keep_apart_in_hub
from dure_hub.hubdb import CONNECT
from dure_hub.hubpages import Pages
from dure_hub.login_audit import hook
from dure_hub.logins import authenticator_of
from dure_hub.proxy import EnvoyProxy, hosts
from dure_hub.spawners.chosen import spawner_of

ops = operations(os.environ["DURE_DATA"])
settings, folder = ops.settings, ops.settings.folder
mine = ["custom:dure:use", "access:services!service=dure"]
everything = [*mine, "custom:dure:admin"]
reads = ["list:users", "read:users", "read:servers"]

c = get_config()  # type: ignore[name-defined]
hub = c.JupyterHub
hub.bind_url = f"{settings.listens_at}/"  # only named: Envoy listens there
hub.public_url = f"{settings.address}/" if settings.public_url or settings.subdomain_host else ""
hub.hub_bind_url = f"http://{settings.own_host}:{settings.hub_port}"
hub.hub_connect_url = f"http://{settings.reached_at(settings.hub_port)}"
hub.db_url = f"sqlite:///{folder.db / 'hub.sqlite'}"
hub.db_kwargs = {"connect_args": CONNECT}
hub.cookie_secret_file = str(folder.secrets / "cookie-secret")
hub.proxy_class = EnvoyProxy
c.EnvoyProxy.data = str(folder.root)

# Servers and Envoy outlive the hub; it finds them again.
hub.cleanup_servers = hub.cleanup_proxy = False
hub.init_spawners_timeout = 10
hub.last_activity_interval = 60
hub.activity_resolution = 30
hub.spawner_class = spawner_of(ops)
c.KubeSpawner.update(settings.kubespawner)
c.Spawner.http_timeout = settings.http_timeout_s
c.Spawner.start_timeout = settings.http_timeout_s + 60 + (settings.pod_wait_s if settings.on_cluster else 0)
c.Spawner.poll_interval = 10
c.Spawner.consecutive_failure_limit = 0
# Below this a refusal still reaches who asked through the hub's own API or form, with its sentence.
hub.tornado_settings = {"slow_spawn_timeout": 2, "slow_stop_timeout": 10}
https = settings.address.startswith("https:")
hub.tornado_settings.update(keep_apart_in_hub(settings.at(FORM_PATH), https=https))
hub.allow_named_servers = True  # how many is the portal's to say: the hub would count stopped ones, too
hub.concurrent_spawn_limit = 64

hub.default_url = settings.at("/services/dure/")
hub.template_paths = [str(files("dure_hub") / "templates" / "hub")]
hub.template_vars = {"dure": Pages(settings, one_account=Feature.USER_ISOLATION in ops.servers.unsupported)}

# The portal asks with its own token and logs people in through the hub (OAuth).
hub.services = [
    {
        "name": "dure",
        "url": f"http://{settings.reached_at(settings.portal_port)}",
        "api_token": folder.secret("portal-token"),
        "oauth_no_confirm": True,
        "oauth_client_id": "service-dure",
        "oauth_redirect_uri": settings.at("/services/dure/oauth_callback"),
        "oauth_client_allowed_scopes": everything,
        "timeout": 2,
        "display": False,
    }
]
hub.custom_scopes = {
    "custom:dure:use": {"description": "Use the portal: servers, jobs, models and endpoints of one's own."},
    "custom:dure:admin": {"description": "Administer the portal."},
}
hub.load_roles = [
    {"name": "user", "scopes": ["self", *mine]},
    {"name": "dure-admin", "scopes": everything},
    {
        "name": "dure-portal",
        "services": ["dure"],
        # admin:users only to make known whoever comes with a token before their first login; groups are the teams.
        "scopes": [*reads, "start:servers", "delete:servers", "admin:users", "admin:groups"],
    },
]
if settings.subdomain_host:
    hub.subdomain_host = settings.subdomain_host
    hub.subdomain_hook = hosts
    # What a page of somebody's server sets for all hosts, a login must not be taken for.
    hub.cookie_host_prefix_enabled = settings.subdomain_host.startswith("https:")
    # For owners who share their servers. The scope opens every server: the hub gives on only what one holds.
    hub.load_roles[2]["scopes"].append("shares")
c.Spawner.server_token_scopes = ["users:activity!user", "access:servers!server", *mine]

c.Authenticator.post_auth_hook = hook(ops.audit)
hub.token_expires_in_max_seconds = settings.key_lifetime_max_s
hub.authenticator_class = authenticator_of(ops)
DureAuthenticator.audit = ops.audit
c.DureAuthenticator.data = str(folder.root)
c.CryptKeeper.keys = [bytes.fromhex(folder.secret("auth-state-key"))]
