// Package kube is the part of Kubernetes in the end of a pod: a [drain.Lifecycle] whose preStop endpoint is the platform's
// word that the pod goes, and that leaves the report's summary as the container's termination message.
//
//	l := kube.New(&kube.Options{Dir: "/var/spool/penstock", Logger: logger})
//	mux.Handle("/prestop", l)
//	d, err := drain.New(&drain.Options{
//		OnSignal: drain.Drain, Grace: 600 * time.Second, Lifecycles: []drain.Lifecycle{l}, ...
//	})
//
// # What Kubernetes does
//
// When a pod is deleted, or evicted through the API, three things begin at once: its endpoint stops being ready, the container's
// preStop hook is called, and terminationGracePeriodSeconds (default 30) begin to count. SIGTERM follows when the hook has
// returned, SIGKILL at the end of the grace period. Load balancers and nodes learn of the endpoint later than the
// container of its end, and go on sending: hence readiness 503 first, then receiving until it is quiet
// (drain.Options.Quiesce), then closing. The hook returns at once; the SIGTERM behind it lets the drain go on.
//
// Without the hook SIGTERM begins the same without the wait for silence. No API tells a container its grace period, the
// downward API neither: it has to be said again as drain.Options.Grace, so that the report is written before the end.
//
// Less time than that is left by kubectl delete --grace-period and by a node that shuts down, and by the kubelet of a node
// under pressure none: a hard eviction kills at once, whatever the pod says. As a sidecar (an init container with
// restartPolicy Always) a service has its SIGTERM only when the other containers have ended, and what they leave of the
// grace period is all there is. A container that its liveness probe restarts is ended by the hook and SIGTERM just the same:
// it drains, and is started again. So a pod may always end in the middle: only a volume that outlives it loses nothing.
//
// The hook is an exec of the own binary that calls [PreStop]. The endpoint takes the pod out of service, so it answers
// PreStop only, from within the pod, and nothing that a proxy or a browser has passed on.
//
// # The volume
//
// With a PersistentVolumeClaim of a StatefulSet what cannot be delivered within the grace period waits for the next pod of
// that name (persistentVolumeClaimRetentionPolicy.whenScaled must stay Retain): a signal may stop or drain. An emptyDir
// goes with the pod: a signal has to drain, and what is left then is lost. A spool in an emptyDir is warned of at the
// start.
//
// Sources: Kubernetes documentation, "Pod Lifecycle", "Container Lifecycle Hooks", "Sidecar Containers" and "Node-pressure
// Eviction".
package kube
