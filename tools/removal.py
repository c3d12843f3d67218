"""Takes a portal off a cluster in an order in which nothing of it runs on, and nothing keeps a namespace for ever.

People's pods are no part of the release: the portal makes them, each with a finalizer by which it reads how it
ended. With the portal gone nobody takes that off, so whoever removes the portal does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tools.kube import Kube, Trouble, helm

OURS = "app.kubernetes.io/managed-by=dure,dure/portal"
FINALIZER = "dure/record"
PORTAL_S, PODS_S = 120, 180
"""How long the portal's pod, and people's, may take to end."""
STAYS = """
Left on purpose, for homes and passwords are in them:
  the namespaces {namespaces}
  the claims in {dev} (homes) and in {platform} (the portal's databases), with their volumes
  the Secrets dure-* in {platform}, without which those databases do not open again
Installed again, the portal goes on with them. To be rid of all of it:  kubectl delete namespace {namespaces}"""


def remove(kube: Kube, release: str, namespaces: Sequence[str], say: Callable[[str], None]) -> None:
    """End the portal, then people's pods, then the release. Of the `namespaces` the last is the portal's own."""
    *peoples, platform = namespaces
    say("Ending the portal, so that nobody starts anything any more ...")
    if not kube.items("statefulsets", "--namespace", platform, "--field-selector=metadata.name=dure-portal"):
        raise Trouble(
            f"There is no StatefulSet dure-portal in {platform}: another chart runs this portal. Uninstall that "
            "one first, then end people's pods as docs/kubernetes.md says."
        )
    kube.run("--namespace", platform, "scale", "statefulset/dure-portal", "--replicas=0")
    kube.run(*_gone(platform, "pod/dure-portal-0", PORTAL_S))
    for namespace in peoples:
        end_pods(kube, namespace, say)
    say("Uninstalling ...")
    helm("uninstall", release, "--namespace", platform)
    say(STAYS.format(namespaces=" ".join(namespaces), dev=peoples[0], platform=platform))


def end_pods(kube: Kube, namespace: str, say: Callable[[str], None]) -> None:
    """End what the portal has started there, and wait until it is gone; Secrets go with their pods."""
    pods = kube.items("pods", "--namespace", namespace, "--selector", OURS)
    if pods:
        say(f"Ending {len(pods)} pods in {namespace} ...")
    for pod in pods:
        name, held = pod["metadata"]["name"], pod["metadata"].get("finalizers") or []
        kube.run("--namespace", namespace, "delete", "pod", name, "--wait=false", "--ignore-not-found")
        if FINALIZER in held:
            others = [f'"{one}"' for one in held if one != FINALIZER]
            patch = f'{{"metadata":{{"finalizers":[{",".join(others)}]}}}}'
            _unless_gone(kube, "--namespace", namespace, "patch", "pod", name, "--type=merge", f"--patch={patch}")
    for pod in pods:
        kube.run(*_gone(namespace, f"pod/{pod['metadata']['name']}", PODS_S))
    kube.run("--namespace", namespace, "delete", "secrets", "--selector", OURS)


def _gone(namespace: str, what: str, longest_s: int) -> tuple[str, ...]:
    return ("--namespace", namespace, "wait", "--for=delete", what, f"--timeout={longest_s}s")


def _unless_gone(kube: Kube, *words: str) -> None:
    """What has no other finalizer and no node is gone as soon as it is deleted."""
    try:
        kube.run(*words)
    except Trouble as why:
        if "NotFound" not in str(why):
            raise
