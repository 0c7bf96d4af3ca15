// Package asg connects a drain to an EC2 Auto Scaling group: a [drain.Lifecycle] that reads the scale-in from the instance
// metadata, keeps the termination hook waiting while the drain makes progress, and answers the hook. A drain that
// has verified everything answers CONTINUE, every other drain ABANDON. A Stop does not answer.
//
//	l, err := asg.New(&asg.Options{Hook: "drain", Logger: logger})
//	d, err := drain.New(&drain.Options{Lifecycles: []drain.Lifecycle{l}, ...})
//
// # What the group needs
//
// The group needs a lifecycle hook for the transition autoscaling:EC2_INSTANCE_TERMINATING with DefaultResult ABANDON and
// a HeartbeatTimeout of at least twice drain.Options.StallTimeout, such as 1800 s. It also needs an
// InstanceLifecyclePolicy whose RetentionTriggers.TerminateHookAbandon is "retain". Without that policy ABANDON terminates
// the instance just as CONTINUE does, and its volume is deleted unless DeleteOnTermination is off. The instance's role
// needs autoscaling:RecordLifecycleActionHeartbeat, CompleteLifecycleAction, DescribeAutoScalingInstances,
// DescribeAutoScalingGroups and DescribeLifecycleHooks, and with Options.ProtectAbove also SetInstanceProtection. At
// startup the Lifecycle logs what is missing, and how to fix it.
//
// A hook does not cover spot reclaim, force delete, or terminating the instance other than through the group. But the
// Lifecycle reads the notice of a spot reclaim, two minutes before the end, and the drain gets that time.
//
// The Lifecycle looks the group up in the instance's own region (metadata placement/region), since AWS_REGION may be that of
// a bucket. Its requests to the API use the proxy of the environment; those to the metadata service never use a proxy. In a
// container without the host's network the instance needs a hop limit of at least 2 (HttpPutResponseHopLimit).
//
// The metadata has the same target state for an instance that returns to a warm pool and for one that starts there for the
// first time. With Options.Dir the Lifecycle leaves a note on the disk when the instance is in service. A process that is
// restarted while the instance returns reads the note, drains, and receives nothing more.
//
// The Lifecycle uses only IMDSv2. AWS_EC2_METADATA_SERVICE_ENDPOINT and AWS_ENDPOINT_URL_AUTO_SCALING name other servers;
// package [github.com/penstock-go/penstock/drain/draintest] has fakes of both, with and without HTTP.
package asg
