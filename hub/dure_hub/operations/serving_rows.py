"""Rows of endpoints: how they are read together, what they mean on the wire and to the data plane."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from dure import wire
from dure.errors import NotFound
from dure_hub.dataplane import Cluster, Fragment, Route
from dure_hub.operations.notes import both, sentence
from dure_hub.policies import canary
from dure_hub.policies.canary import CANARY, CHAMPION, Server
from dure_hub.store.models import Endpoint, Lease, Replica

GONE = "gone"
Counts = Mapping[str, tuple[int | None, int | None]]
Latencies = Mapping[str, tuple[float | None, float | None]]


@dataclass(frozen=True)
class View:
    """An endpoint with the model servers it still has, and their leases by id."""

    endpoint: Endpoint
    replicas: tuple[Replica, ...]
    leases: Mapping[str, Lease]

    @property
    def servers(self) -> list[Server]:
        """The model servers as the rules see them."""
        return [Server(r.id, r.version, r.role, r.phase, r.percent) for r in self.replicas]

    def lease(self, replica: Replica) -> Lease | None:
        """The replica's lease, while it has an active one."""
        lease = self.leases.get(replica.lease_id or "")
        return lease if lease is not None and lease.ended_at is None else None

    def role(self, role: str) -> Replica | None:
        """Its champion, or its canary."""
        return next((replica for replica in self.replicas if replica.role == role), None)


def open_views(session: Session) -> list[View]:
    """Every endpoint that is served, or of which something still runs."""
    busy = select(Replica.endpoint_id).where(Replica.phase != GONE)
    query = select(Endpoint).where(or_(Endpoint.ended_at.is_(None), Endpoint.id.in_(busy)))
    return [view(session, endpoint) for endpoint in session.scalars(query.order_by(Endpoint.name)).all()]


def view(session: Session, endpoint: Endpoint) -> View:
    """One endpoint with all that belongs to it."""
    query = select(Replica).where(Replica.endpoint_id == endpoint.id, Replica.phase != GONE)
    replicas = session.scalars(query.order_by(Replica.created_at, Replica.id)).all()
    ids = [replica.lease_id for replica in replicas if replica.lease_id]
    leases = {lease.id: lease for lease in session.scalars(select(Lease).where(Lease.id.in_(ids))).all()}
    return View(endpoint, tuple(replicas), leases)


def find(session: Session, name: str) -> Endpoint:
    """The endpoint that is served under this name; raises `NotFound`."""
    endpoint = session.scalar(select(Endpoint).where(Endpoint.name == name, Endpoint.ended_at.is_(None)))
    if endpoint is None:
        raise NotFound(kind="endpoint", name=name)
    return endpoint


def cluster_of(endpoint: Endpoint, replica: Replica) -> str:
    """Its name in the data plane, the same through a promotion; its counts and latencies begin anew with one.

    Envoy counts a canary as a pair with the champion that it falls back on, and a champion alone.
    """
    return f"{endpoint.name}-{replica.id.lower()}"


def fragment_for(
    views: Sequence[View], address: Callable[[Lease], str | None], nobody: str, base_url: str = "/"
) -> Fragment:
    """Routes and clusters of all endpoints. `address` gives a lease's, None if it has none; `nobody` answers 503.

    A retired server keeps its cluster without any share, so that what it is answering is not cut off.
    """
    clusters: list[Cluster] = []
    routes: list[Route] = []
    for one in views:
        here = {r.id: place for r in one.replicas if (lease := one.lease(r)) and (place := address(lease))}
        reachable = [server for server in one.servers if server.id in here]
        shares = canary.weights(reachable)
        champion = next((s.id for s in reachable if s.role == CHAMPION and s.ready), None)
        names = {replica.id: cluster_of(one.endpoint, replica) for replica in one.replicas}
        for server in reachable:
            falls = champion if server.role == CANARY and server.ready else None
            clusters.append(Cluster(names[server.id], here[server.id], names[falls] if falls else None))
        if one.endpoint.wanted != "serve":
            continue
        if not shares:
            names["nobody"] = f"{one.endpoint.name}-nobody"
            clusters.append(Cluster(names["nobody"], nobody))
            shares = {"nobody": 100}
        routes.append(
            Route(
                prefix=f"{base_url}serve/{one.endpoint.name}/",
                targets=tuple((names[key], share) for key, share in shares.items()),
                auth=True,
                rewrite="/",
                strip=("cookie", "authorization"),
            )
        )
    return Fragment(tuple(clusters), tuple(routes))


def on_wire(one: View, counts: Counts, latencies: Latencies) -> wire.Endpoint:
    """The endpoint as people see it; `reason_text` has the reason in every language."""
    endpoint, shares = one.endpoint, canary.weights(one.servers)

    def replica_on_wire(role: str) -> wire.Replica | None:
        replica = one.role(role)
        if replica is None:
            return None
        requests, errors = counts.get(cluster_of(endpoint, replica), (None, None))
        p50, p95 = latencies.get(cluster_of(endpoint, replica), (None, None))
        return wire.Replica.model_validate(
            {
                "version": replica.version,
                "role": role,
                "phase": "starting" if replica.phase == "crashed" else replica.phase,
                "percent": shares.get(replica.id, 0) if shares else replica.percent,
                "reason": sentence(replica.reason),
                "reason_text": both(replica.reason),
                "restarts": replica.restarts,
                "requests": requests,
                "errors": errors,
                "latency_p50_ms": p50,
                "latency_p95_ms": p95,
            }
        )

    return wire.Endpoint.model_validate(
        {
            "name": endpoint.name,
            "owner": endpoint.owner,
            "model": endpoint.model,
            "profile": endpoint.profile,
            "state": endpoint.state,
            "url": f"/serve/{endpoint.name}/",
            "champion": replica_on_wire(CHAMPION),
            "canary": replica_on_wire(CANARY),
            "created_at": endpoint.created_at,
            "reason": sentence(endpoint.reason),
            "reason_text": both(endpoint.reason),
        }
    )
