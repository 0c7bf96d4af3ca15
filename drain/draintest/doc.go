// Package draintest has fakes of an EC2 Auto Scaling group and its instances: the lifecycle hook as a state machine with
// time-outs, and the instance metadata that announces it. A [Group] implements [asg.Service] and an [Instance] implements
// [asg.Metadata] in process, so that hours take no time under testing/synctest. Both are http.Handlers too, for the AWS SDK
// with AWS_ENDPOINT_URL_AUTO_SCALING and AWS_EC2_METADATA_SERVICE_ENDPOINT.
//
//	InService ─Terminate→ Terminating ─deregistered→ Terminating:Wait ─CONTINUE→ Terminating:Proceed → Terminated
//	                                                      │  ABANDON, heartbeat timeout, global timeout
//	                                                      ├─with Retain→ Terminating:Retained
//	                                                      └─without────→ Terminating:Proceed → Terminated
//
// An [ECSTask] is a server for ECS_AGENT_URI: the scale-in protection of a task.
//
// The fakes start no goroutine: every call first applies what is due.
package draintest
