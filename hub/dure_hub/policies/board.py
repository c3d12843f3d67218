"""The mutable picture of what is free: decides where a holder goes, and keeps count of who holds what.

A decision is the node, GPU and start after which the demand can use most of what is still free (`packing`), ties
by best fit. Offers are kept by kind of request and made again only for nodes that changed, so that thousands of
requests on thousands of nodes cost little.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import Any

from dure_hub.catalogue.machine import Machine, opened
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.policies.node import ANY_TEAM, Device, Node, Offer, Request
from dure_hub.policies.packing import ROUNDING, Ask, Demand, Kinds, usual
from dure_hub.policies.slices import CPU, Placement, Slice, Wish
from dure_hub.policies.verdict import Verdict

_NO_WISH = Wish()
_NAMED = 3
"""Nodes that a verdict names; of more it says how many."""


class Board:
    """What is free on these nodes beside what is held. Not for several threads at once.

    `demand` is what requests will ask for, with weights: it decides what is worth keeping free. Without it, every
    way to have a part of each GPU model there counts alike. Slices of nodes that are not there are not counted;
    slices of GPUs that are not there count on their node alone.
    """

    def __init__(
        self,
        machines: Sequence[Machine],
        held: Iterable[Slice] = (),
        demand: Iterable[tuple[ProfileSpec, float]] | None = None,
    ) -> None:
        self._demand = Demand(usual(machines) if demand is None else demand)
        kinds = Kinds()
        self._nodes = [Node(index, machine, kinds) for index, machine in enumerate(machines)]
        self._by_name = {node.machine.name: node for node in self._nodes}
        self._by_device = {uuid: node for node in self._nodes for uuid in node.devices}
        self._rankings: dict[tuple[object, ...], _Ranking] = {}
        self._changed: list[int] = []
        self.take(held)

    def place(self, profile: ProfileSpec, wish: Wish = _NO_WISH) -> Placement:
        """Where one holder of this profile goes. Takes nothing.

        Verdicts: `fits`; `no_gpu_free`, `no_slice_free`, `other_team_shares`, `no_memory_free`, `no_cores_free`,
        `no_pods_free`, and `home_bound` in their place where only some nodes will do (waiting helps);
        `never_fits` (it does not).
        """
        ranking = self._ranking(profile, wish)
        offer = ranking.first(wish.apart)
        if offer is None:
            return Placement(_bound(self._refusal(profile, ranking), wish))
        node = self._nodes[offer.node]
        devices = node.choose(offer, ranking.request, wish.apart)
        slices = _slices(profile, node.machine.name, devices, offer.start, wish.team)
        return Placement(Verdict.yes("fits", profile=profile.name, total=self._total(ranking)), slices)

    def take(self, slices: Iterable[Slice]) -> None:
        """Count these as held."""
        for piece in slices:
            node = self._node_of(piece)
            if node is not None:
                node.take(piece)
                self._changed.append(node.index)

    def give_back(self, slices: Iterable[Slice]) -> None:
        """Count these as free. Raises `ValueError` at the first that is not held."""
        for piece in slices:
            node = self._node_of(piece)
            if node is not None:
                node.give_back(piece)
                self._changed.append(node.index)

    def count(self, profile: ProfileSpec, wish: Wish = _NO_WISH) -> int:
        """How many holders of this profile fit beside what is held."""
        request = _request(profile, wish)
        return sum(node.count(request) for node in self._nodes if _takes(node, request, wish))

    def count_by_slice(self, slices: Iterable[Slice], profile: ProfileSpec, wish: Wish = _NO_WISH) -> int:
        """The same on the nodes of these slices alone, each node once."""
        request = _request(profile, wish)
        nodes = {node.index: node for node in map(self._node_of, slices) if node is not None}
        return sum(node.count(request) for node in nodes.values() if _takes(node, request, wish))

    def total(self, profile: ProfileSpec, wish: Wish = _NO_WISH) -> int:
        """How many holders of this profile fit where nothing is held."""
        return self._total(self._ranking(profile, wish))

    def next_best(self, asked: str, profiles: Mapping[str, ProfileSpec], wish: Wish = _NO_WISH) -> str | None:
        """A profile that is free now instead of `asked`: the nearest in GPUs, then in GPU memory. None if none."""
        wanted = profiles.get(asked)
        if wanted is None:
            return None

        def distance(profile: ProfileSpec) -> tuple[int, int, str]:
            apart = abs((profile.gpu_memory_mb or 0) - (wanted.gpu_memory_mb or 0))
            return abs(_gpus(profile) - _gpus(wanted)), apart, profile.name

        nearest = sorted((one for one in profiles.values() if one.name != asked), key=distance)
        return next((one.name for one in nearest if self._ranking(one, wish).first(frozenset())), None)

    def _node_of(self, piece: Slice) -> Node | None:
        node = self._by_device.get(piece.device)
        if node is None:
            node = self._by_name.get(piece.node)
        # what was granted before nodes had names lies on the only one
        return self._nodes[0] if node is None and not piece.node and len(self._nodes) == 1 else node

    def _ranking(self, profile: ProfileSpec, wish: Wish) -> _Ranking:
        team = wish.team if profile.share and not wish.share_across_teams else ANY_TEAM
        key = (Ask.of(profile), profile.cpu_cores, profile.memory_mb, wish.pool, team, wish.nodes, wish.without)
        ranking = self._rankings.get(key)
        if ranking is None:
            request = _request(profile, wish)
            nodes = [node for node in self._nodes if _takes(node, request, wish)]
            ranking = self._rankings[key] = _Ranking(request, nodes, self._demand, len(self._changed))
        else:
            ranking.follow(self._changed)
        return ranking

    def _total(self, ranking: _Ranking) -> int:
        if ranking.total is None:
            empty = Kinds()
            known: dict[tuple[object, ...], int] = {}
            ranking.total = 0
            for node in ranking.nodes.values():
                if node.shape not in known:
                    known[node.shape] = Node(0, opened(node.machine), empty).count(ranking.request)
                ranking.total += known[node.shape]
        return ranking.total

    def _refusal(self, profile: ProfileSpec, ranking: _Ranking) -> Verdict:
        if ranking.refused is None:
            facts: dict[str, Any] = {"profile": profile.name, "total": self._total(ranking)}
            ranking.refused = _refusal(profile, ranking, facts)
        return ranking.refused


class _Ranking:
    """The nodes by what they offer to one kind of request, kept up to date with the board."""

    def __init__(self, request: Request, nodes: Sequence[Node], demand: Demand, seen: int) -> None:
        self.request = request
        self.nodes = {node.index: node for node in nodes}
        self.total: int | None = None
        self.refused: Verdict | None = None
        self._demand = demand
        self._seen = seen
        self._best = _offers(nodes, demand, request)
        self._heap = list(self._best.values())
        heapify(self._heap)

    def follow(self, changed: Sequence[int]) -> None:
        """Ask the nodes anew that changed since last time."""
        if self._seen == len(changed):
            return
        for index in {*changed[self._seen :]} & self.nodes.keys():
            offer = self.nodes[index].offer(self._demand, self.request)
            if offer is None:
                self._best.pop(index, None)
            else:
                self._best[index] = offer
                heappush(self._heap, offer)
        self._seen = len(changed)
        self.refused = None

    def first(self, apart: frozenset[str]) -> Offer | None:
        """The best offer: of a node without siblings, else of a GPU without, else of any."""
        shunned: list[Offer] = []
        found: Offer | None = None
        while self._heap and found is None:
            offer = self._heap[0]
            if self._best.get(offer.node) is not offer:  # the node has changed since
                heappop(self._heap)
            elif apart and _has_sibling(self.nodes[offer.node], apart):
                shunned.append(heappop(self._heap))
            else:
                found = offer
        for offer in shunned:
            heappush(self._heap, offer)
        if found is not None or not shunned:
            return found
        others = (self.nodes[offer.node].offer(self._demand, self.request, apart) for offer in shunned)
        return min((offer for offer in others if offer is not None), default=shunned[0])


def _offers(nodes: Sequence[Node], demand: Demand, request: Request) -> dict[int, Offer]:
    """What each of these nodes offers; nodes in one state are asked once."""
    known: dict[tuple[object, ...], Offer | None] = {}
    found: dict[int, Offer] = {}
    for node in nodes:
        state = node.state(request)
        if state not in known:
            known[state] = node.offer(demand, request)
        offer = known[state]
        if offer is not None:
            found[node.index] = offer if offer.node == node.index else offer._replace(node=node.index)
    return found


def _request(profile: ProfileSpec, wish: Wish) -> Request:
    team = wish.team if profile.share and not wish.share_across_teams else ANY_TEAM
    return Request(Ask.of(profile), profile.cpu_cores, profile.memory_mb, wish.pool, team)


def _refusal(profile: ProfileSpec, ranking: _Ranking, facts: dict[str, Any]) -> Verdict:
    """Why no node offers anything."""
    if facts["total"] == 0:
        return Verdict.no("never_fits", **facts)
    request, nodes = ranking.request, list(ranking.nodes.values())
    ask = request.ask
    wanted = max(ask.gpus, 1)
    if ask.gpu:
        serving = [node for node in nodes if node.holders(request)]
        if not serving:
            if ask.share and any(node.parts(request, of_any_team=True) for node in nodes):
                return Verdict.no("other_team_shares", **facts, gpu_model=profile.gpu_model)
            free = [node.parts(request) for node in nodes]
            most = {"asked_gpus": wanted, "free_on_one_node": max(free)} if wanted > 1 else {}
            code = "no_gpu_free" if ask.gpus else "no_slice_free"
            how = {"mig": ask.mig} if ask.mig else {"share": ask.share} if ask.share else {}
            shown = {"free": sum(free), "gpu_model": profile.gpu_model}
            return Verdict.no(code, **facts, **shown, **how, **most)
        nodes = serving
    rooms = [node.room(ask) for node in nodes]
    most_mb = max(0, max(memory_mb for _, memory_mb in rooms))
    if most_mb < profile.memory_mb:
        return Verdict.no("no_memory_free", **facts, free_mb=most_mb, asked_mb=profile.memory_mb)
    most_cores = max(
        0.0, max((cores for cores, memory_mb in rooms if memory_mb >= profile.memory_mb), default=0.0)
    )
    if most_cores + ROUNDING >= profile.cpu_cores:
        return Verdict.no("no_pods_free", **facts)
    return Verdict.no("no_cores_free", **facts, free=round(most_cores, 2), asked=profile.cpu_cores)


def _bound(refusal: Verdict, wish: Wish) -> Verdict:
    """The same with the nodes that alone will do, where not all of them will."""
    if wish.nodes is None:
        return refusal
    return Verdict.no("home_bound", **refusal.facts, nodes=named(wish.nodes) or "-")


def named(nodes: Iterable[str]) -> str:
    """The first of these nodes by name, and how many more there are."""
    names = sorted(nodes)
    more = f" (+{len(names) - _NAMED})" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _slices(
    profile: ProfileSpec, node: str, devices: Sequence[Device], start: int | None, team: str | None
) -> tuple[Slice, ...]:
    if not devices:
        return (Slice(CPU, profile.cpu_cores, profile.memory_mb, node, team=team),)
    cores = profile.cpu_cores / len(devices)
    # the first device carries what does not divide, so that the sum is exact
    each = profile.memory_mb // len(devices)
    rest = profile.memory_mb - each * len(devices)
    made = []
    for number, device in enumerate(devices):
        memory_mb = each + (rest if number == 0 else 0)
        piece = Slice(device.gpu.uuid, cores, memory_mb, node, team=team)
        if profile.mig is not None:
            existing = (one for one in device.gpu.instances if (one.profile, one.start) == (profile.mig, start))
            uuid = next((one.uuid for one in existing), None)
            piece = Slice(device.gpu.uuid, cores, memory_mb, node, profile.mig, start, uuid, team=team)
        elif profile.share and not profile.gpus:
            piece = Slice(device.gpu.uuid, cores, memory_mb, node, share=profile.share, team=team)
        made.append(piece)
    return tuple(made)


def _takes(node: Node, request: Request, wish: Wish) -> bool:
    in_pool = not request.pool or node.machine.pool in {"", request.pool}
    return in_pool and (request.ask.gpu or not node.machine.gpus_only) and wish.allows(node.machine.name)


def _has_sibling(node: Node, apart: frozenset[str]) -> bool:
    return node.machine.name in apart or not apart.isdisjoint(node.devices)


def _gpus(profile: ProfileSpec) -> int:
    """GPUs it touches."""
    return profile.gpus or int(profile.mig is not None or profile.share > 0)
