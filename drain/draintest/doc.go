// Package draintest fakes what an EC2 Auto Scaling group does to an instance: its lifecycle hook as a state machine with
// time-outs, and the instance metadata that announces it. A [Group] implements [asg.Service] and an [Instance] [asg.Metadata] in
// process, so that hours pass in no time under testing/synctest; both are http.Handlers too, which the AWS SDK reaches by
// AWS_ENDPOINT_URL_AUTO_SCALING and AWS_EC2_METADATA_SERVICE_ENDPOINT.
//
//	InService ─Terminate→ Terminating ─deregistered→ Terminating:Wait ─CONTINUE→ Terminating:Proceed → Terminated
//	                                                      │  ABANDON, heartbeat timeout, global timeout
//	                                                      ├─with Retain→ Terminating:Retained
//	                                                      └─without────→ Terminating:Proceed → Terminated
//
// An [ECSTask] is what ECS_AGENT_URI leads to in a container: the task's scale-in protection.
//
// The fakes start no goroutine: what is due has happened when somebody looks.
package draintest
