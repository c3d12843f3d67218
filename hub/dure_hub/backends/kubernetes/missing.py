"""What the portal runs on one machine and not on a cluster yet: it says so, and starts nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from dure.errors import Unsupported
from dure_hub.backends.base import (
    ExecutionBackend,
    ExecutionWork,
    Feature,
    Handle,
    Kind,
    ServingBackend,
    ServingWork,
    TrainingBackend,
    TrainingWork,
)
from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.runs import PodRuns
from dure_hub.settings import Settings

Said = Mapping[str, str]
NO_TRAINING: Said = {
    "en": "Training jobs do not run on a cluster yet; a notebook of a server with a GPU can train.",
    "ko": "아직 클러스터에서는 훈련 작업을 실행하지 않습니다. GPU 서버의 노트북에서 훈련할 수 있습니다.",
}
ONE_POD: Said = {
    "en": "A server is one pod on one node; people's servers are spread over all of them.",
    "ko": "서버 하나는 한 노드의 파드 하나입니다. 여러 사람의 서버는 모든 노드에 나뉩니다.",
}
NO_SERVING: Said = {
    "en": "Models are not served on a cluster yet; what is registered stays.",
    "ko": "아직 클러스터에서는 모델을 서빙하지 않습니다. 등록한 것은 그대로 있습니다.",
}
NO_SCHEDULES: Said = {
    "en": "Notebooks are not run on schedule on a cluster yet.",
    "ko": "아직 클러스터에서는 노트북을 예약 실행하지 않습니다.",
}


class NoTraining(PodRuns, TrainingBackend):
    """No jobs."""

    unsupported: Mapping[Feature, Said] = {
        Feature.TRAINING: NO_TRAINING,
        Feature.MULTI_NODE: ONE_POD,
    }

    def __init__(self, settings: Settings, cluster: Cluster) -> None:
        super().__init__(cluster, settings.instance, settings.namespace_training, Kind.JOB)

    def start(self, work: TrainingWork) -> AsyncIterator[Handle]:
        """Raises `Unsupported`."""
        raise Unsupported(feature=Feature.TRAINING.value, why=NO_TRAINING)


class NoExecutions(PodRuns, ExecutionBackend):
    """No scheduled notebooks."""

    unsupported: Mapping[Feature, Said] = {Feature.SCHEDULES: NO_SCHEDULES}

    def __init__(self, settings: Settings, cluster: Cluster) -> None:
        super().__init__(cluster, settings.instance, settings.namespace_training, Kind.EXECUTION)

    def start(self, work: ExecutionWork) -> AsyncIterator[Handle]:
        """Raises `Unsupported`."""
        raise Unsupported(feature=Feature.SCHEDULES.value, why=NO_SCHEDULES)


class NoServing(PodRuns, ServingBackend):
    """No models."""

    unsupported: Mapping[Feature, Said] = {Feature.SERVING: NO_SERVING}

    def __init__(self, settings: Settings, cluster: Cluster) -> None:
        super().__init__(cluster, settings.instance, settings.namespace_serving, Kind.MODEL)

    def start(self, work: ServingWork) -> AsyncIterator[Handle]:
        """Raises `Unsupported`."""
        raise Unsupported(feature=Feature.SERVING.value, why=NO_SERVING)

    def address(self, handle: Handle) -> tuple[str, int]:
        """There is none."""
        raise Unsupported(feature=Feature.SERVING.value, why=NO_SERVING)

    async def ready(self, handle: Handle) -> bool:
        """Never."""
        return False
