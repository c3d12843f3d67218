"""The sentences of trouble: a disk that is nearly full, GPUs that are given to nobody."""

from __future__ import annotations

SENTENCES: dict[str, tuple[str, str]] = {
    "verdict.disk_low": (
        "The portal's disk has {free_percent} % ({free_mb} MiB) free, and nothing new starts below {percent} % or "
        "{minimum_mb} MiB. It starts by itself once there is room. Largest: {largest}.",
        "포털 디스크의 남은 공간이 {free_percent} %({free_mb} MiB)입니다. "
        "{percent} % 또는 {minimum_mb} MiB 아래에서는 새로 시작하지 않습니다. "
        "공간이 생기면 자동으로 시작합니다. 큰 폴더: {largest}.",
    ),
    "verdict.place_away": (
        "The cluster does not answer just now. What runs goes on, and this starts by itself once it answers.",
        "지금 클러스터가 응답하지 않습니다. 실행 중인 것은 계속되고, 응답이 돌아오면 자동으로 시작합니다.",
    ),
    "verdict.cluster_queue": (
        "Kueue, the cluster's own queue, did not let it in ({queue}: {why}). It keeps its place here and is tried "
        "again by itself.",
        "클러스터 자체 대기열인 Kueue가 아직 승인하지 않았습니다({queue}: {why}). "
        "대기 순서는 그대로이며 자동으로 다시 시도합니다.",
    ),
    "waits.cluster_queue": ("The cluster's queue", "클러스터 대기열"),
    "verdict.cluster_quota": (
        "The quota {quota} of the cluster's namespace {namespace} has no room for it now ({why}). It keeps its "
        "place here and is tried again by itself.",
        "클러스터 네임스페이스 {namespace}의 할당량 {quota}에 지금 여유가 없습니다({why}). "
        "대기 순서는 그대로이며 자동으로 다시 시도합니다.",
    ),
    "waits.cluster_quota": ("The cluster's quota", "클러스터 할당량"),
    "verdict.cluster_no_node": (
        "The node {node} took no pod of {profile} ({why}), and nothing else is free for it. It keeps its place "
        "here and is tried again by itself.",
        "노드 {node}이(가) {profile} 파드를 받지 못했고({why}) 다른 빈자리도 없습니다. "
        "대기 순서는 그대로이며 자동으로 다시 시도합니다.",
    ),
    "waits.no_node": ("No node", "노드 없음"),
    "verdict.home_bound": (
        "Your home can be used on {nodes} alone, and nothing is free there for {profile}. It starts by itself "
        "once there is.",
        "홈을 쓸 수 있는 노드는 {nodes}뿐이고, 지금 그곳에 {profile} 자리가 없습니다. "
        "자리가 나면 자동으로 시작합니다.",
    ),
    "waits.home": ("Your home's node", "홈이 있는 노드"),
    "verdict.some_node": (
        "It waits for a node that takes it, or that has its owner's home.",
        "받아 줄 노드나 소유자의 홈이 있는 노드를 기다리고 있습니다.",
    ),
    "verdict.no_gpu_free.closed": (
        "Nothing is free for {profile}; {closed} of the GPUs of its kind are out of use.",
        "{profile}에 쓸 자리가 없습니다. 같은 종류의 GPU {closed}개가 사용 중지 상태입니다.",
    ),
    "verdict.no_slice_free.closed": (
        "Nothing is free for {profile}; {closed} of the GPUs of its kind are out of use.",
        "{profile}에 쓸 자리가 없습니다. 같은 종류의 GPU {closed}개가 사용 중지 상태입니다.",
    ),
    "verdict.no_gpu_free.outside": (
        "Nothing is free for {profile}; pods that Dure did not start hold {outside} GPUs of its kind.",
        "{profile}에 쓸 자리가 없습니다. Dure가 시작하지 않은 파드가 같은 종류의 GPU {outside}개를 쓰고 있습니다.",
    ),
    "verdict.no_slice_free.outside": (
        "Nothing is free for {profile}; pods that Dure did not start hold {outside} of its kind.",
        "{profile}에 쓸 자리가 없습니다. Dure가 시작하지 않은 파드가 같은 종류를 {outside}개 쓰고 있습니다.",
    ),
    "verdict.no_gpu_free.away": (
        "Nothing is free for {profile}; {away} GPUs of its kind are on nodes that take nobody now: cordoned, not "
        "ready, or in trouble.",
        "{profile}에 쓸 자리가 없습니다. 같은 종류의 GPU {away}개가 지금 받지 않는 노드(차단, 준비 안 됨, 문제)에 "
        "있습니다.",
    ),
    "verdict.no_slice_free.away": (
        "Nothing is free for {profile}; {away} GPUs of its kind are on nodes that take nobody now: cordoned, not "
        "ready, or in trouble.",
        "{profile}에 쓸 자리가 없습니다. 같은 종류의 GPU {away}개가 지금 받지 않는 노드(차단, 준비 안 됨, 문제)에 "
        "있습니다.",
    ),
    "verdict.no_memory_free.outside": (
        "Memory is short: {profile} needs {asked_mb} MiB on one node, and {free_mb} MiB are free. Pods that Dure "
        "did not start hold {outside} MiB in all.",
        "메모리가 부족합니다. {profile}에는 한 노드에 {asked_mb} MiB가 필요하고 {free_mb} MiB가 남아 있습니다. "
        "Dure가 시작하지 않은 파드가 모두 {outside} MiB를 쓰고 있습니다.",
    ),
    "verdict.no_cores_free.outside": (
        "Cores are short: {profile} needs {asked} on one node, and {free} are free. Pods that Dure did not start "
        "hold {outside} in all.",
        "코어가 부족합니다. {profile}에는 한 노드에 {asked}개가 필요하고 {free}개가 남아 있습니다. "
        "Dure가 시작하지 않은 파드가 모두 {outside}개를 쓰고 있습니다.",
    ),
    "verdict.no_memory_free.away": (
        "Memory is short: {profile} needs {asked_mb} MiB on one node, and {free_mb} MiB are free. {away} nodes "
        "take nobody now: cordoned, not ready, or in trouble.",
        "메모리가 부족합니다. {profile}에는 한 노드에 {asked_mb} MiB가 필요하고 {free_mb} MiB가 남아 있습니다. "
        "노드 {away}개는 지금 받지 않습니다(차단, 준비 안 됨, 문제).",
    ),
    "verdict.no_cores_free.away": (
        "Cores are short: {profile} needs {asked} on one node, and {free} are free. {away} nodes take nobody now: "
        "cordoned, not ready, or in trouble.",
        "코어가 부족합니다. {profile}에는 한 노드에 {asked}개가 필요하고 {free}개가 남아 있습니다. "
        "노드 {away}개는 지금 받지 않습니다(차단, 준비 안 됨, 문제).",
    ),
    "verdict.no_pods_free": (
        "The nodes with room for {profile} take no more pods: each has as many as the cluster lets it have.",
        "{profile}에 맞는 노드가 파드를 더 받지 못합니다. 클러스터가 정한 노드당 파드 수에 이르렀습니다.",
    ),
    "waits.disk": ("Disk nearly full", "디스크 부족"),
    "spawn.disk": (
        "The portal's disk has {percent} % free. Nothing new starts until there is room.",
        "포털 디스크의 남은 공간이 {percent} %입니다. 공간이 생길 때까지 새로 시작하지 않습니다.",
    ),
    "spawn.closed": ("Out of use", "사용 중지"),
    "spawn.closed.of": ("{closed} of {total}", "{total}개 중 {closed}개"),
    "spawn.closed.maintenance": ("{n} in maintenance", "점검 중 {n}개"),
    "spawn.closed.fault": ("{n} with a fault", "고장 {n}개"),
    "spawn.closed.outside": ("{n} used outside Dure", "Dure 밖에서 사용 중 {n}개"),
    "spawn.closed.node": ("{n} on nodes that take nobody now", "지금 받지 않는 노드에 {n}개"),
    "spawn.closed.until": ("until", "· 복귀 예정"),
}
