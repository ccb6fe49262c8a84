"""One of each kind, and the same with something changed: what the contract of all kinds is tried on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from tests.resources.code import zipped

from gpupipe.names import Stack
from gpupipe.resources import Resource
from gpupipe.resources.bucket import Bucket, LifecycleRule
from gpupipe.resources.bucket_notification import BucketNotification, NotificationRule
from gpupipe.resources.endpoint import Endpoint
from gpupipe.resources.endpoint_config import Async, EndpointConfig, Variant
from gpupipe.resources.event_source import EventSource
from gpupipe.resources.function import Function
from gpupipe.resources.instance_profile import InstanceProfile
from gpupipe.resources.launch_template import LaunchTemplate
from gpupipe.resources.log_group import LogGroup
from gpupipe.resources.metric_alarm import MetricAlarm
from gpupipe.resources.model import Model
from gpupipe.resources.queue import Queue
from gpupipe.resources.queue_policy import QueuePolicy
from gpupipe.resources.role import Role, Statement
from gpupipe.resources.scalable_target import ScalableTarget
from gpupipe.resources.scaling_policy import ScalingPolicy, Steps, Tracking
from gpupipe.resources.schedule import Schedule, group_arn
from gpupipe.resources.scheduled_action import ScheduledAction
from gpupipe.resources.secret import Secret
from gpupipe.resources.security_group import Ingress, SecurityGroup
from gpupipe.resources.subscription import Subscription
from gpupipe.resources.table import Table
from gpupipe.resources.topic import Topic

PIPELINE = "segment"
# The only image parameter that moto and ministack both answer.
IMAGE = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"


class Samples:
    """The resources of a small stack. `named_as` gives them the names of another stack's."""

    def __init__(self, stack: Stack, *, named_as: Stack | None = None) -> None:
        self.stack = stack
        self.names = named_as or stack

    def bucket(self) -> Bucket:
        return Bucket(
            stack=self.stack,
            name=self.names.data_bucket(PIPELINE),
            pipeline=PIPELINE,
            lifecycle=(
                LifecycleRule(id="rest", old_versions_days=30, abort_uploads_days=7),
                LifecycleRule(id="logs", prefix="logs/", expire_days=30),
            ),
        )

    def queue(self) -> Queue:
        dead = Queue(stack=self.stack, name=self.names.dead_letter_queue(PIPELINE), pipeline=PIPELINE)
        name = self.names.work_queue(PIPELINE)
        return Queue(
            stack=self.stack,
            name=name,
            pipeline=PIPELINE,
            visibility_timeout_s=600,
            dead_letter=dead,
            max_receives=4,
        )

    def queue_policy(self) -> QueuePolicy:
        queue = self.queue()
        return QueuePolicy(stack=self.stack, name=queue.name, pipeline=PIPELINE, queue=queue, bucket=self.bucket())

    def notification(self) -> BucketNotification:
        bucket, policy = self.bucket(), self.queue_policy()
        return BucketNotification(
            stack=self.stack,
            name=bucket.name,
            pipeline=PIPELINE,
            bucket=bucket,
            queue=policy.queue,
            policy=policy,
            rules=(
                NotificationRule(id="incoming", events=("s3:ObjectCreated:*",), prefix="incoming/"),
                NotificationRule(
                    id="manifests", events=("s3:ObjectCreated:*",), prefix="jobs/", suffix="/manifest.json"
                ),
            ),
        )

    def table(self) -> Table:
        return Table(stack=self.stack, name=self.names.table, hash_key="pk", range_key="sk", ttl_attribute="expires_at")

    def log_group(self) -> LogGroup:
        function = self.names.guard_function(PIPELINE)
        name = self.names.function_log_group(function)
        return LogGroup(stack=self.stack, name=name, pipeline=PIPELINE, retention_days=30)

    def role(self) -> Role:
        statement = Statement(
            sid="Send",
            actions=("sqs:SendMessage", "sqs:GetQueueAttributes"),
            resources=(self.queue().arn,),
            conditions={"StringEquals": {"aws:ResourceAccount": self.stack.account}},
        )
        return Role(
            stack=self.stack,
            name=self.names.part(PIPELINE, "guard"),
            pipeline=PIPELINE,
            service="lambda.amazonaws.com",
            statements=(statement,),
        )

    def instance_profile(self) -> InstanceProfile:
        name = self.names.part(PIPELINE, "worker")
        role = replace(self.role(), name=name, service="ec2.amazonaws.com")
        return InstanceProfile(stack=self.stack, name=name, pipeline=PIPELINE, role=role)

    def function(self) -> Function:
        return Function(
            stack=self.stack,
            name=self.names.guard_function(PIPELINE),
            pipeline=PIPELINE,
            handler="guard.handler",
            role=self.role(),
            log_group=self.log_group(),
            code=zipped("def handler(event, context): return 1\n"),
            environment={"GPUPIPE_FUNCTION": '{"version": 1}'},
            async_retries=0,
        )

    def event_source(self) -> EventSource:
        name = self.names.part(PIPELINE, "dispatch-events")
        return EventSource(
            stack=self.stack,
            name=name,
            pipeline=PIPELINE,
            function=self.function(),
            queue=self.queue(),
            batch_size=100,
            batch_window_s=2,
        )

    def schedule(self) -> Schedule:
        function = self.function()
        call = Statement(sid="Call", actions=("lambda:InvokeFunction",), resources=(function.arn,))
        role = Role(
            stack=self.stack,
            name=self.names.part(PIPELINE, "schedule"),
            service="scheduler.amazonaws.com",
            statements=(call,),
            source_arn=group_arn(self.stack),
        )
        name = self.names.guard_function(PIPELINE)
        return Schedule(stack=self.stack, name=name, pipeline=PIPELINE, function=function, role=role)

    def secret(self) -> Secret:
        return Secret(stack=self.stack, name=self.names.secret("hf_token"))

    def security_group(self) -> SecurityGroup:
        return SecurityGroup(stack=self.stack, name=self.names.part(PIPELINE, "worker"), pipeline=PIPELINE)

    def launch_template(self) -> LaunchTemplate:
        return LaunchTemplate(
            stack=self.stack,
            name=self.names.launch_template(PIPELINE),
            pipeline=PIPELINE,
            image=IMAGE,
            profile=self.instance_profile(),
            security_group=self.security_group(),
            volume_gb=100,
            user_data="#!/bin/sh\necho ä\n",
            on_shutdown="stop",
            machine_tags={"team": "fields"},
        )

    def topic(self, name: str = "errors") -> Topic:
        return Topic(stack=self.stack, name=self.names.part(PIPELINE, name), pipeline=PIPELINE)

    def subscription(self) -> Subscription:
        topic = self.topic()
        return Subscription(stack=self.stack, name=topic.name, pipeline=PIPELINE, topic=topic, function=self.function())

    def model(self) -> Model:
        name = self.names.part(PIPELINE, "model")
        # Of one name whoever made it, so that what is another's can be in the way.
        return Model(
            stack=self.stack,
            name=name,
            pipeline=PIPELINE,
            image=f"{self.stack.account}.dkr.ecr.{self.stack.region}.amazonaws.com/rooms:1",
            role=replace(self.role(), name=name, service="sagemaker.amazonaws.com"),
            environment={"GPUPIPE_WORKER": '{"version": 1}'},
            exact_name=f"{name}-11111111",
        )

    def endpoint_config(self) -> EndpointConfig:
        name = self.names.endpoint(PIPELINE)
        bucket = f"s3://{self.names.data_bucket(PIPELINE)}"
        return EndpointConfig(
            stack=self.stack,
            name=name,
            pipeline=PIPELINE,
            variants=(
                Variant(name="main", model=self.model(), instance_types=("ml.g5.xlarge", "ml.g6.xlarge"), weight=3.0),
                Variant(name="other", model=self.model(), instance_types=("ml.m5.xlarge",)),
            ),
            asynchronous=Async(
                output_path=f"{bucket}/responses/",
                failure_path=f"{bucket}/errors/",
                success_topic=self.topic("success"),
                error_topic=self.topic(),
            ),
            exact_name=f"{name}-11111111",
        )

    def endpoint(self) -> Endpoint:
        name = self.names.endpoint(PIPELINE)
        group = LogGroup(stack=self.stack, name=self.names.endpoint_log_group(PIPELINE), pipeline=PIPELINE)
        return Endpoint(stack=self.stack, name=name, pipeline=PIPELINE, config=self.endpoint_config(), log_group=group)

    def scalable_target(self) -> ScalableTarget:
        return ScalableTarget(
            stack=self.stack,
            name="main",
            pipeline=PIPELINE,
            endpoint=self.endpoint(),
            variant="main",
            min_instances=0,
            max_instances=2,
        )

    def scaling_policy(self) -> ScalingPolicy:
        measure = Tracking(
            value=4.0,
            metric="ApproximateBacklogSizePerInstance",
            dimensions={"EndpointName": self.names.endpoint(PIPELINE)},
            scale_in_cooldown_s=900,
        )
        name = self.names.part(PIPELINE, "track-main")
        return ScalingPolicy(stack=self.stack, name=name, pipeline=PIPELINE, target=self.scalable_target(), how=measure)

    def step_policy(self) -> ScalingPolicy:
        return replace(self.scaling_policy(), name=self.names.part(PIPELINE, "wake-main"), how=Steps())

    def metric_alarm(self) -> MetricAlarm:
        return MetricAlarm(
            stack=self.stack,
            name=self.names.part(PIPELINE, "wake-main"),
            pipeline=PIPELINE,
            namespace="AWS/SageMaker",
            metric="HasBacklogWithoutCapacity",
            dimensions={"EndpointName": self.names.endpoint(PIPELINE)},
            threshold=1.0,
            policy=self.step_policy(),
        )

    def scheduled_action(self) -> ScheduledAction:
        return ScheduledAction(
            stack=self.stack,
            name=self.names.part(PIPELINE, "warm-main"),
            pipeline=PIPELINE,
            target=self.scalable_target(),
            schedule="cron(0 8 ? * MON-FRI *)",
            min_instances=1,
            max_instances=2,
            timezone="Europe/Berlin",
        )


def _retagged(resource: Resource) -> Resource:
    return replace(resource, stack=replace(resource.stack, extra_tags=(("team", "others"),)))


def _other_config(samples: Samples) -> Endpoint:
    endpoint = samples.endpoint()
    main, other = endpoint.config.variants
    changed = (replace(main, weight=1.0), replace(other, instance_types=("ml.c5.xlarge",)))
    config = replace(endpoint.config, variants=changed, exact_name=f"{endpoint.config.name}-22222222")
    return replace(endpoint, config=config)


def _other_policy(samples: Samples) -> ScalingPolicy:
    policy = samples.scaling_policy()
    assert isinstance(policy.how, Tracking)
    return replace(policy, how=replace(policy.how, value=8.0, scale_out_cooldown_s=60))


def _other_function(samples: Samples) -> Subscription:
    function = samples.function()
    return replace(samples.subscription(), function=replace(function, name=samples.names.callback_function(PIPELINE)))


def _other_queue(samples: Samples) -> QueuePolicy:
    policy = samples.queue_policy()
    return replace(policy, bucket=replace(policy.bucket, name=f"{policy.bucket.name}-2"))


def _other_rules(samples: Samples) -> BucketNotification:
    notification = samples.notification()
    return replace(notification, rules=notification.rules[:1])


def _other_statements(samples: Samples) -> Role:
    role = samples.role()
    return replace(role, statements=(replace(role.statements[0], actions=("sqs:SendMessage",)),))


def _other_role(samples: Samples) -> InstanceProfile:
    profile = samples.instance_profile()
    return replace(profile, role=samples.role())


def _other_code(samples: Samples) -> Function:
    return replace(
        samples.function(),
        code=zipped("def handler(event, context): return 2\n"),
        memory_mb=512,
        environment={"GPUPIPE_FUNCTION": '{"version": 2}'},
        async_retries=1,
    )


SAMPLES: Mapping[str, tuple[Callable[[Samples], Resource], Callable[[Samples], Resource]]] = {
    "bucket": (Samples.bucket, lambda s: replace(s.bucket(), lifecycle=())),
    "queue": (Samples.queue, lambda s: replace(s.queue(), visibility_timeout_s=60, dead_letter=None)),
    "queue policy": (Samples.queue_policy, _other_queue),
    "bucket notification": (Samples.notification, _other_rules),
    "table": (Samples.table, lambda s: replace(s.table(), ttl_attribute="", recovery=False, protected=False)),
    "log group": (Samples.log_group, lambda s: replace(s.log_group(), retention_days=0)),
    "role": (Samples.role, _other_statements),
    "instance profile": (Samples.instance_profile, _other_role),
    "function": (Samples.function, _other_code),
    "event source": (Samples.event_source, lambda s: replace(s.event_source(), batch_size=50, max_concurrency=5)),
    "topic": (Samples.topic, lambda s: _retagged(s.topic())),
    "subscription": (Samples.subscription, _other_function),
    "model": (Samples.model, lambda s: _retagged(s.model())),
    "endpoint config": (Samples.endpoint_config, lambda s: _retagged(s.endpoint_config())),
    "endpoint": (Samples.endpoint, _other_config),
    "scalable target": (Samples.scalable_target, lambda s: replace(s.scalable_target(), max_instances=4)),
    "scaling policy": (Samples.scaling_policy, _other_policy),
    "metric alarm": (Samples.metric_alarm, lambda s: replace(s.metric_alarm(), periods=2, policy=None)),
    "scheduled action": (
        Samples.scheduled_action,
        lambda s: replace(s.scheduled_action(), schedule="cron(0 9 * * ? *)", timezone="UTC"),
    ),
    "schedule": (Samples.schedule, lambda s: replace(s.schedule(), every_minutes=5)),
    "secret": (Samples.secret, lambda s: _retagged(s.secret())),
    "security group": (
        Samples.security_group,
        lambda s: replace(s.security_group(), ingress=(Ingress(port=22, cidr="192.0.2.0/24", description="office"),)),
    ),
    "launch template": (
        Samples.launch_template,
        lambda s: replace(s.launch_template(), volume_gb=200, on_shutdown="terminate"),
    ),
}
"""Kind -> what makes a sample of it, and what makes the same thing with other fields."""
