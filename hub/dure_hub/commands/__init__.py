"""The words of the `dure` command that need the hub package. Light: the parts are imported when one is used."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any

from dure.errors import reader_language as language

HELP = {
    "up": ("start the portal of this machine", "이 머신의 포털을 시작합니다"),
    "prepare": (
        "make the data folder ready for services that a cluster starts",
        "클러스터가 시작하는 서비스를 위해 데이터 폴더를 준비합니다",
    ),
    "secret_file": ("keep this file's text as a secret", "이 파일의 내용을 비밀값으로 보관합니다"),
    "admin_password": ("password of the first administrator", "첫 관리자의 비밀번호가 든 파일"),
    "down": ("end the portal and everything it runs", "포털과 실행 중인 모든 것을 종료합니다"),
    "status": ("say what runs", "실행 상태를 보여 줍니다"),
    "doctor": ("say what this machine can do, and what is limited", "이 머신에서 가능한 것과 제한을 보여 줍니다"),
    "portal-logs": ("show the logs of the portal's services", "포털 서비스의 로그를 보여 줍니다"),
    "service": ("install the portal as a service of this machine", "포털을 이 머신의 서비스로 설치합니다"),
    "user": ("add, reset, disable or list people", "사용자를 추가, 재설정, 중지하거나 목록을 봅니다"),
    "token": ("make a token that speaks for a person", "사용자를 대신하는 토큰을 만듭니다"),
    "backup": ("write everything into one file", "모든 것을 한 파일에 백업합니다"),
    "restore": ("make a data folder from such a file", "백업 파일에서 데이터 폴더를 만듭니다"),
    "upgrade": ("bring the databases to this version", "데이터베이스를 이 버전으로 업그레이드합니다"),
    "kueue": (
        "show the quotas as Kueue's objects, or bring them to it",
        "할당량을 Kueue 객체로 보이거나 적용합니다",
    ),
    "apply": (
        "bring them to the cluster, and take away those of teams that are gone",
        "클러스터에 적용하고 없어진 팀의 것은 삭제합니다",
    ),
    "kubeconfig": (
        "file that says how to reach the cluster (default: the portal's setting)",
        "클러스터 접속 파일(기본값: 포털 설정)",
    ),
    "file": ("the backup", "백업 파일"),
    "without_homes": ("leave people's folders out", "사용자 폴더를 제외합니다"),
    "replace": ("move what is there aside first", "기존 폴더를 옆으로 옮긴 뒤 복원합니다"),
    "check": ("only say what would be done", "무엇을 할지 보여 주기만 합니다"),
    "import": ("bring people, teams and homes over from another hub", "다른 허브의 사람, 팀, 홈을 가져옵니다"),
    "source": (
        "its jupyterhub.sqlite, its database's address, or its own with http",
        "jupyterhub.sqlite, DB 주소, 또는 http 주소",
    ),
    "dry_run": ("say what would happen, and change nothing", "바꾸지 않고 결과만 보여 줍니다"),
    "homes": ("where homes are, such as '/home/{username}'", "홈의 위치(예: '/home/{username}')"),
    "copy": ("copy the homes that were found", "찾은 홈을 복사합니다"),
    "allow_empty": ("bring this person although no home was found", "홈이 없어도 이 사람을 가져옵니다"),
    "as": ("bring OLD over as NEW", "이전 이름을 새 이름으로 가져옵니다"),
    "only": ("this person only, by the old name", "이 사람만(이전 이름)"),
    "secret": ("file of mode 600 with token or password", "토큰이나 비밀번호가 든 권한 600 파일"),
    "pvcs": ("what `kubectl get pvc -o json` said", "`kubectl get pvc -o json`의 출력"),
    "mapping": ("where to write whose volume is which", "볼륨 대응표를 쓸 파일"),
    "logins": ("say what the login provider says of people", "로그인 제공자가 알려 준 상태를 보여 줍니다"),
    "forget": ("let another account of the provider have this name", "제공자의 다른 계정이 이 이름을 쓰게 합니다"),
    "data": ("data folder (default: DURE_DATA, else ~/.dure)", "데이터 폴더(기본값: DURE_DATA, 없으면 ~/.dure)"),
    "detach": ("go to the background once it is ready", "준비되면 백그라운드로 전환합니다"),
    "port": ("front port (default: DURE_PORT, else 8000)", "포털 포트(기본값: DURE_PORT, 없으면 8000)"),
    "host": ("address to listen on (default: 127.0.0.1)", "수신 주소(기본값: 127.0.0.1)"),
    "insecure_http": (
        "let others reach it by plain http (behind a proxy that does TLS)",
        "다른 컴퓨터에서 일반 http로 접속하게 합니다(TLS를 처리하는 프록시 뒤)",
    ),
    "json": ("print JSON", "JSON으로 출력합니다"),
    "one": ("one service only", "한 서비스만 봅니다"),
    "system": ("of the whole machine (needs root)", "시스템 전체 서비스(root 필요)"),
    "own": ("of your own account (systemctl --user)", "내 계정의 서비스(systemctl --user)"),
    "unit": ("name of the service (default: dure)", "서비스 이름(기본값: dure)"),
    "print": ("only print the unit", "유닛을 출력만 합니다"),
    "follow": ("go on as the log grows", "로그를 계속 따라갑니다"),
    "lines": ("lines of each log (default: 40)", "로그마다 보여 줄 줄 수(기본값: 40)"),
    "name": ("the person's name", "사용자 이름"),
    "admin": ("make an administrator", "관리자로 만듭니다"),
    "stdin": ("read the password from the first line of input", "입력의 첫 줄에서 비밀번호를 읽습니다"),
    "metrics": ("a token that reads /metrics and nothing else", "/metrics만 읽을 수 있는 토큰"),
    "purpose": ("a note on what the token is for", "토큰의 용도 메모"),
    "dataplane": ("start an Envoy that runs elsewhere", "다른 곳에서 실행되는 Envoy를 시작합니다"),
    "xds": ("the portal: host and its xds_port", "포털의 호스트와 xds_port"),
    "token_file": ("file with the portal's secrets/xds-token", "포털의 secrets/xds-token이 든 파일"),
    "listen": ("people's port (default: 0.0.0.0:8000)", "사용자용 포트(기본값: 0.0.0.0:8000)"),
    "inside": (
        "plain http for the portal's own programs and people's servers",
        "포털 자체 프로그램과 사용자 서버를 위한 http 포트",
    ),
    "statistics": (
        "/ready and, for the portal, /stats (default: 0.0.0.0:9901)",
        "/ready와 포털용 /stats(기본값: 0.0.0.0:9901)",
    ),
    "node": ("its name (default: this host's)", "이름(기본값: 이 호스트의 이름)"),
    "folder": ("a folder of its own (default: /tmp/dure-envoy)", "전용 폴더(기본값: /tmp/dure-envoy)"),
    "tls_cert": ("PEM file: certificate and chain", "PEM 파일: 인증서와 체인"),
    "tls_key": ("PEM file in the same folder: its key", "같은 폴더의 PEM 파일: 키"),
    "behind_proxy": ("believe a proxy of yours in front", "앞에 있는 프록시를 신뢰합니다"),
    "exec": ("become that Envoy", "그 Envoy를 실행합니다"),
    "days": ("how long it lives (default: the portal's setting)", "유효 기간(기본값: 포털 설정)"),
}
SERVICES = ("envoy", "hub", "portal", "mlflow", "voila", "warm", "supervisor")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the hub's commands to the `dure` command."""
    up = _add(subparsers, "up", "dure_hub.commands.up")
    up.add_argument("--detach", action="store_true", help=_help("detach"))
    up.add_argument("--port", type=int, help=_help("port"))
    up.add_argument("--host", help=_help("host"))
    up.add_argument("--insecure-http", action="store_true", help=_help("insecure_http"))
    up.add_argument("--report-fd", type=int, help=argparse.SUPPRESS)  # the background half of --detach
    ready = _add(subparsers, "prepare", "dure_hub.commands.prepare")
    ready.add_argument("--secret", action="append", default=[], metavar="NAME=FILE", help=_help("secret_file"))
    ready.add_argument("--admin-password-file", type=Path, metavar="FILE", help=_help("admin_password"))
    _add(subparsers, "down", "dure_hub.commands.down")
    _add(subparsers, "status", "dure_hub.commands.status").add_argument(
        "--json", action="store_true", help=_help("json")
    )
    _add(subparsers, "doctor", "dure_hub.commands.doctor").add_argument(
        "--json", action="store_true", help=_help("json")
    )
    logs = _add(subparsers, "portal-logs", "dure_hub.commands.logs")
    logs.add_argument("service", nargs="?", choices=SERVICES, help=_help("one"))
    logs.add_argument("-f", "--follow", action="store_true", help=_help("follow"))
    logs.add_argument("-n", "--lines", type=int, default=40, help=_help("lines"))
    _add_user(subparsers)
    _add_service(subparsers)
    _add_keeping(subparsers)
    _add_import(subparsers)
    _add_dataplane(subparsers)
    kueue = _add(subparsers, "kueue", "dure_hub.commands.kueue")
    kueue.add_argument("--apply", action="store_true", help=_help("apply"))
    kueue.add_argument("--kubeconfig", type=Path, metavar="FILE", help=_help("kubeconfig"))
    token = _add(subparsers, "token", "dure_hub.commands.token")
    token.add_argument("--user", help=_help("name"))
    token.add_argument("--purpose", default="dure token", help=_help("purpose"))
    token.add_argument("--days", type=float, help=_help("days"))
    token.add_argument("--metrics", action="store_true", help=_help("metrics"))
    logins = _add(subparsers, "logins", "dure_hub.commands.logins")
    logins.add_argument("--forget", metavar="NAME", help=_help("forget"))
    logins.add_argument("--json", action="store_true", help=_help("json"))


def _add_keeping(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    backup = _add(subparsers, "backup", "dure_hub.commands.backup")
    backup.add_argument("file", help=_help("file"))
    backup.add_argument("--without-homes", action="store_true", help=_help("without_homes"))
    restore = _add(subparsers, "restore", "dure_hub.commands.restore")
    restore.add_argument("file", help=_help("file"))
    restore.add_argument("--replace", action="store_true", help=_help("replace"))
    _add(subparsers, "upgrade", "dure_hub.commands.upgrade").add_argument(
        "--check", action="store_true", help=_help("check")
    )


def _add_user(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    user = _add(subparsers, "user", "dure_hub.commands.user")
    verbs = user.add_subparsers(dest="verb", metavar="add|reset|disable|list", required=True)
    for verb in ("add", "reset", "disable"):
        parser = verbs.add_parser(verb)
        parser.add_argument("name", help=_help("name"))
        if verb == "add":
            parser.add_argument("--admin", action="store_true", help=_help("admin"))
        if verb != "disable":
            parser.add_argument("--password-stdin", action="store_true", help=_help("stdin"))
    verbs.add_parser("list").add_argument("--json", action="store_true", help=_help("json"))


def _add_service(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    service = _add(subparsers, "service", "dure_hub.commands.service")
    verbs = service.add_subparsers(dest="verb", metavar="install|uninstall", required=True)
    for verb in ("install", "uninstall", "stop"):  # the last is what systemd runs
        parser = verbs.add_parser(verb)
        parser.add_argument("--data", default=argparse.SUPPRESS, help=_help("data"))
        parser.add_argument("--name", default="dure", help=_help("unit"))
        kinds = parser.add_mutually_exclusive_group()
        kinds.add_argument("--system", action="store_true", default=None, help=_help("system"))
        kinds.add_argument("--user", action="store_false", dest="system", default=None, help=_help("own"))
        if verb == "install":
            parser.add_argument("--print", action="store_true", help=_help("print"))


def _add_import(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(subparsers, "import", "dure_hub.commands.import_hub")
    parser.add_argument("kind", choices=("jupyterhub",))
    parser.add_argument("source", metavar="SOURCE", help=_help("source"))
    parser.add_argument("--dry-run", action="store_true", help=_help("dry_run"))
    parser.add_argument("--homes", metavar="PATTERN", help=_help("homes").replace("%", "%%"))
    parser.add_argument("--copy", action="store_true", help=_help("copy"))
    for flag, name, what in (
        ("--allow-empty", "allow_empty", "NAME"),
        ("--as", "as_name", "OLD=NEW"),
        ("--only", "only", "NAME"),
    ):
        words = {"as_name": "as"}.get(name, name)
        parser.add_argument(flag, dest=name, action="append", default=[], metavar=what, help=_help(words))
    parser.add_argument("--secret-file", type=Path, metavar="FILE", help=_help("secret"))
    parser.add_argument("--pvcs", type=Path, metavar="FILE", help=_help("pvcs"))
    parser.add_argument("--mapping", type=Path, metavar="FILE", help=_help("mapping"))
    parser.add_argument("--json", action="store_true", help=_help("json"))


def _add_dataplane(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    dataplane = subparsers.add_parser("dataplane", help=_help("dataplane"), description=_help("dataplane"))
    verbs = dataplane.add_subparsers(dest="verb", metavar="bootstrap", required=True)
    bootstrap = verbs.add_parser("bootstrap")
    bootstrap.set_defaults(run=lambda arguments: import_module("dure_hub.commands.dataplane").run(arguments))
    bootstrap.add_argument("--xds", metavar="HOST:PORT", required=True, help=_help("xds"))
    bootstrap.add_argument("--token-file", type=Path, metavar="FILE", required=True, help=_help("token_file"))
    for name, default in (("listen", "0.0.0.0:8000"), ("inside", ""), ("statistics", "0.0.0.0:9901")):
        bootstrap.add_argument(f"--{name}", metavar="HOST:PORT", default=default, help=_help(name))
    bootstrap.add_argument("--node", metavar="NAME", help=_help("node"))
    bootstrap.add_argument("--folder", type=Path, default=Path("/tmp/dure-envoy"), help=_help("folder"))  # noqa: S108
    bootstrap.add_argument("--tls-cert", type=Path, metavar="FILE", help=_help("tls_cert"))
    bootstrap.add_argument("--tls-key", type=Path, metavar="FILE", help=_help("tls_key"))
    bootstrap.add_argument("--behind-proxy", action="store_true", help=_help("behind_proxy"))
    bootstrap.add_argument("--exec", action="store_true", help=_help("exec"))


def _add(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser], name: str, module: str
) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(name, help=_help(name), description=_help(name))
    parser.add_argument("--data", help=_help("data"))

    def run(arguments: argparse.Namespace) -> Any:
        return import_module(module).run(arguments)

    parser.set_defaults(run=run)
    return parser


def _help(key: str) -> str:
    return HELP[key][language() == "ko"]
