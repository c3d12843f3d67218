"""The durable rows of all the words: tickets, leases, environments, jobs, endpoints, events, tokens."""

from dure_hub.store.base import Base as Base
from dure_hub.store.models.environments import Environment as Environment
from dure_hub.store.models.environments import Share as Share
from dure_hub.store.models.leases import Lease as Lease
from dure_hub.store.models.leases import Ticket as Ticket
from dure_hub.store.models.money import Budget as Budget
from dure_hub.store.models.money import Counter as Counter
from dure_hub.store.models.money import Quota as Quota
from dure_hub.store.models.money import UsageHour as UsageHour
from dure_hub.store.models.notices import Delivery as Delivery
from dure_hub.store.models.notices import Notice as Notice
from dure_hub.store.models.notices import NoticeChannel as NoticeChannel
from dure_hub.store.models.notices import NoticeWishes as NoticeWishes
from dure_hub.store.models.portal import Event as Event
from dure_hub.store.models.portal import Leadership as Leadership
from dure_hub.store.models.portal import Token as Token
from dure_hub.store.models.schedules import Execution as Execution
from dure_hub.store.models.schedules import Schedule as Schedule
from dure_hub.store.models.serving import Endpoint as Endpoint
from dure_hub.store.models.serving import Replica as Replica
from dure_hub.store.models.serving import Rollout as Rollout
from dure_hub.store.models.training import Attempt as Attempt
from dure_hub.store.models.training import Job as Job
