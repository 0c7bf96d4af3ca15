// Package kube connects a drain to Kubernetes: a [drain.Lifecycle] that takes the call of the pod's preStop hook as the notice
// that the pod is being deleted, and leaves the report's summary as the container's termination message.
//
//	l := kube.New(&kube.Options{Dir: "/var/spool/penstock", Logger: logger})
//	mux.Handle("/prestop", l)
//	d, err := drain.New(&drain.Options{
//		OnSignal: drain.Drain, Grace: 600 * time.Second, Lifecycles: []drain.Lifecycle{l}, ...
//	})
//
// # What Kubernetes does
//
// When a pod is deleted, or evicted through the API, three things begin at once: its endpoint stops being ready, the
// container's preStop hook is called, and terminationGracePeriodSeconds (default 30) begin. SIGTERM follows when the hook has
// returned, SIGKILL at the end of the grace period. Load balancers and nodes learn that the endpoint is gone later than the
// container learns of its end, and continue to send. So the drain first answers readiness probes with 503, then receives
// until no record has arrived for drain.Options.Quiesce, then closes. The hook returns at once; the SIGTERM that follows lets
// the drain continue.
//
// Without the hook, SIGTERM begins the same drain, but without quiescing. No API tells a container its grace period, not even
// the downward API: repeat it in drain.Options.Grace, so that the report is written in time.
//
// `kubectl delete --grace-period` and node shutdown may allow less time; hard eviction under node pressure allows none. A
// service that is a sidecar (an init container with restartPolicy Always) gets its SIGTERM only when the other containers
// have ended, and has only the rest of the grace period. A container that its liveness probe restarts is ended by the hook
// and SIGTERM too: it drains, and is started again. So a pod may be killed at any time, and only a volume that outlives it
// loses nothing.
//
// The hook is an exec of the service's own binary that calls [PreStop]. The endpoint ends the service, so it answers only
// PreStop from within the pod, and no request that a proxy or a browser has forwarded.
//
// # The volume
//
// With a PersistentVolumeClaim of a StatefulSet, what cannot be delivered within the grace period waits for the next pod of
// that name (persistentVolumeClaimRetentionPolicy.whenScaled must stay Retain): a signal may stop or drain. An emptyDir is
// deleted with the pod, so a signal must drain, and what is not delivered by then is lost. A spool in an emptyDir is logged
// as a warning at the start.
//
// Sources: Kubernetes documentation, "Pod Lifecycle", "Container Lifecycle Hooks", "Sidecar Containers" and "Node-pressure
// Eviction".
package kube
