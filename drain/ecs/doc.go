// Package ecs is the part of Amazon ECS in the end of a task: a [drain.Lifecycle] that has ECS leave the task alone while it
// holds a backlog (task scale-in protection).
//
//	l, err := ecs.New(&ecs.Options{ProtectAbove: 256 << 20, Logger: logger})
//	d, err := drain.New(&drain.Options{
//		OnSignal: drain.Drain, Grace: 120 * time.Second, Lifecycles: []drain.Lifecycle{l}, ...
//	})
//
// # What ECS does
//
// A task that stops is first taken out of its load balancers, with their deregistration delay; then its containers get
// SIGTERM, and stopTimeout later SIGKILL: 30 s by default, 120 s at most on Fargate. That is all the time a drain has.
// Options.Grace of package drain has to say it, so that the report is written before. The task's own storage goes with
// the task (Fargate's ephemeral storage, and the EBS volume of a task that a service runs), so a signal has to drain, not
// to stop; what stopTimeout does not suffice for must not be there when the task is chosen. Hence the protection: a task
// with more than Options.ProtectAbove to deliver is not chosen by service auto scaling or deployments, until it has
// delivered that, or for Options.Expires after its process was last heard of.
//
// A deployment waits for the protected tasks of the version before, as long as they are protected; CloudFormation gives it up
// after 3 hours. A service protects no more tasks than it desires: while old ones hold their protection, new ones may be
// refused it (DEPLOYMENT_BLOCKED), which is logged and tried again. ProtectAbove should be what stopTimeout suffices for.
//
// Protection does not cover a spot interruption, a failing health check, StopTask, or the loss of the host. Only tasks of
// a service can have it, and the task's role needs ecs:UpdateTaskProtection.
//
// Sources: Amazon ECS Developer Guide, "Task scale-in protection", "Task scale-in protection endpoint" and "Container definition parameters".
package ecs
