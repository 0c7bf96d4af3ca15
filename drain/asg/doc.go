// Package asg is the part of an EC2 Auto Scaling group in the end of an instance: a [drain.Lifecycle] that sees the
// scale-in coming in the instance metadata, keeps the termination hook alive while the drain moves, and answers it:
// CONTINUE once everything is verified, ABANDON in every other case.
//
//	l, err := asg.New(&asg.Options{Hook: "drain", Logger: logger})
//	d, err := drain.New(&drain.Options{Lifecycles: []drain.Lifecycle{l}, ...})
//
// # What the group needs
//
// A lifecycle hook for the transition autoscaling:EC2_INSTANCE_TERMINATING with DefaultResult ABANDON and a
// HeartbeatTimeout of at least twice drain.Options.StallTimeout, such as 1800 s; and an InstanceLifecyclePolicy whose
// RetentionTriggers.TerminateHookAbandon is "retain". Without that policy ABANDON terminates the instance just as CONTINUE
// does, and its volume goes unless DeleteOnTermination is off. The instance's role needs
// autoscaling:RecordLifecycleActionHeartbeat, CompleteLifecycleAction, DescribeAutoScalingInstances,
// DescribeAutoScalingGroups and DescribeLifecycleHooks, with Options.ProtectAbove SetInstanceProtection too. What is
// missing is logged at the start, with the cure.
//
// Not covered by a hook: spot reclaim (its notice two minutes before the end is seen all the same, and the drain gets
// that time), force delete, and termination by hand past the group.
//
// The group is looked for in the instance's own region (metadata placement/region); AWS_REGION may be a bucket's. The
// metadata service is never asked through a proxy, whatever HTTP_PROXY says; the API is. In a container without the host's
// network the instance needs a hop limit of at least 2 (HttpPutResponseHopLimit).
//
// An instance that returns to a warm pool has the same target state as one that is first brought up there. With Options.Dir
// a process that is restarted on the way knows the difference: it drains, and takes nothing more.
//
// The metadata service is asked by IMDSv2 only. AWS_EC2_METADATA_SERVICE_ENDPOINT and AWS_ENDPOINT_URL_AUTO_SCALING point
// the package elsewhere; package [github.com/penstock-go/penstock/drain/draintest] has fakes of both, also without HTTP.
package asg
