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
// The metadata service is asked by IMDSv2 only. AWS_EC2_METADATA_SERVICE_ENDPOINT and AWS_ENDPOINT_URL_AUTO_SCALING point
// the package elsewhere; package [github.com/penstock-go/penstock/drain/draintest] has fakes of both, also without HTTP.
package asg
