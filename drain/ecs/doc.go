// Package ecs connects a drain to Amazon ECS: a [drain.Lifecycle] that keeps ECS from stopping the task while it has a
// backlog (task scale-in protection).
//
//	l, err := ecs.New(&ecs.Options{ProtectAbove: 256 << 20, Logger: logger})
//	d, err := drain.New(&drain.Options{
//		OnSignal: drain.Drain, Grace: 120 * time.Second, Lifecycles: []drain.Lifecycle{l}, ...
//	})
//
// # What ECS does
//
// When ECS stops a task, it first removes the task from its load balancers, with their deregistration delay. Then the
// containers get SIGTERM, and after stopTimeout SIGKILL: 30 s by default, 120 s at most on Fargate. A drain has no more time
// than that. Set drain.Options.Grace to stopTimeout, so that the report is written in time. The task's own storage is deleted
// with the task (Fargate's ephemeral storage, and the EBS volume of a task of a service). So a signal must drain and not stop,
// and ECS must not choose a task while it has more to deliver than stopTimeout allows. The protection prevents that: service
// auto scaling and deployments do not choose a task with more than Options.ProtectAbove to deliver, until it has delivered
// that, or until Options.Expires after the last call of its process.
//
// A deployment waits for the protected tasks of the previous version as long as they are protected; CloudFormation gives it
// up after 3 hours. A service protects no more tasks than its desired count. While old tasks are protected, ECS may refuse
// to protect new ones (DEPLOYMENT_BLOCKED), which is logged and retried. ProtectAbove should be the number of bytes that can
// be delivered within stopTimeout.
//
// Protection does not cover a spot interruption, a failing health check, StopTask, or the loss of the host. Only tasks of a
// service can have it, and the task's role needs ecs:UpdateTaskProtection.
//
// Sources: Amazon ECS Developer Guide, "Task scale-in protection", "Task scale-in protection endpoint" and "Container
// definition parameters".
package ecs
