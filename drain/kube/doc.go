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
// returned, SIGKILL at the end of the grace period. Load balancers and nodes learn later than the container that the endpoint
// is gone, and continue to send. So the drain first answers readiness probes with 503, then receives until no record has
// arrived for drain.Options.Quiesce, then closes. The hook returns at once; the SIGTERM that follows does not interrupt the
// drain.
//
// Without the hook, SIGTERM begins the same drain, but without quiesce. A container cannot find out its grace period, not
// even from the downward API: repeat it in drain.Options.Grace, so that the report is written in time.
//
// `kubectl delete --grace-period` and node shutdown may allow less time; hard eviction under node pressure allows none. A
// service that is a sidecar (an init container with restartPolicy Always) gets its SIGTERM only when the other containers
// have ended, and has only the rest of the grace period. A container that its liveness probe restarts is also ended by the
// hook and SIGTERM: it drains, and is started again. So a pod may be killed at any time. Nothing is lost then only if
// the spool is on a volume that outlives the pod.
//
// The hook is an exec of the service's own binary that calls [PreStop]. Because the endpoint ends the service, it accepts
// only calls of PreStop from within the pod, and no request from a proxy or a browser.
//
// # The volume
//
// With a PersistentVolumeClaim of a StatefulSet, records that cannot be delivered within the grace period wait for the next
// pod of that name (persistentVolumeClaimRetentionPolicy.whenScaled must stay Retain): a signal may stop or drain. An
// emptyDir is deleted with the pod, so a signal must drain, and records that are not delivered by then are lost. At startup
// a warning is logged if the spool is in an emptyDir.
//
// Sources: Kubernetes documentation, "Pod Lifecycle", "Container Lifecycle Hooks", "Sidecar Containers" and "Node-pressure
// Eviction".
package kube
