package deploy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"go.yaml.in/yaml/v3"
)

// cluster has the objects of an overlay, decoded strictly: an unknown field or a wrong type is an error.
type cluster struct {
	pods    *appsv1.StatefulSet
	job     *batchv1.Job
	budget  *policyv1.PodDisruptionBudget
	network *networkingv1.NetworkPolicy
	service map[string]*corev1.Service
	config  map[string]string // collector.yaml by the name of its ConfigMap
}

// build runs kustomize on an overlay.
func (t Tree) build(overlay string) (*cluster, error) {
	files := filesys.MakeFsInMemory()
	for path, text := range t {
		if strings.HasPrefix(path, "kubernetes/") {
			if err := files.WriteFile("/"+path, []byte(text)); err != nil {
				return nil, err
			}
		}
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, "/kubernetes/"+overlay)
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{appsv1.AddToScheme, batchv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	c := &cluster{service: map[string]*corev1.Service{}, config: map[string]string{}}
	for _, r := range built.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			return nil, err
		}
		object, _, err := decoder.Decode(text, nil, nil)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.CurId(), err)
		}
		switch o := object.(type) {
		case *appsv1.StatefulSet:
			c.pods = o
		case *batchv1.Job:
			c.job = o
		case *policyv1.PodDisruptionBudget:
			c.budget = o
		case *networkingv1.NetworkPolicy:
			c.network = o
		case *corev1.Service:
			c.service[o.Name] = o
		case *corev1.ConfigMap:
			c.config[o.Name] = o.Data["collector.yaml"]
		}
	}
	return c, nil
}

// clusters holds for both overlays.
func clusters(check func(c *cluster, pod corev1.PodSpec, config map[string]any) error) func(*world) error {
	return func(w *world) error {
		for _, overlay := range []string{"dev", "prod"} {
			c, err := w.build(overlay)
			if err != nil {
				return err
			}
			if c.pods == nil || c.budget == nil || c.network == nil || len(c.service) != 3 {
				return fmt.Errorf("%s: an object is missing", overlay)
			}
			pod := c.pods.Spec.Template.Spec
			var config map[string]any
			for _, v := range pod.Volumes {
				if v.ConfigMap != nil {
					if err := yaml.Unmarshal([]byte(c.config[v.ConfigMap.Name]), &config); err != nil {
						return err
					}
				}
			}
			if err := check(c, pod, config); err != nil {
				return fmt.Errorf("%s: %w", overlay, err)
			}
		}
		return nil
	}
}

// TestKubernetes: the overlays and the Job that empties a claim.
func TestKubernetes(t *testing.T) {
	base := "kubernetes/base/"
	set := base + "statefulset.yaml"
	prove(t, []invariant{
		{"objects decode strictly", clusters(func(*cluster, corev1.PodSpec, map[string]any) error { return nil }), []mutation{
			{set, "podManagementPolicy: Parallel", "podManagement: Parallel"},
			{set, "failureThreshold: 180", `failureThreshold: "180"`},
			{base + "disruption.yaml", "maxUnavailable: 1", "maxUnavailabel: 1"},
		}},
		{"claims outlive pods", clusters(func(c *cluster, _ corev1.PodSpec, _ map[string]any) error {
			p := c.pods.Spec.PersistentVolumeClaimRetentionPolicy
			if p == nil || p.WhenDeleted != "Retain" || p.WhenScaled != "Retain" {
				return fmt.Errorf("%v", p)
			}
			return nil
		}), []mutation{{set, "whenScaled: Retain", "whenScaled: Delete"}, {set, "whenDeleted: Retain", "whenDeleted: Delete"}}},
		{"one pod opens a spool", clusters(func(c *cluster, _ corev1.PodSpec, _ map[string]any) error {
			if m := c.pods.Spec.VolumeClaimTemplates[0].Spec.AccessModes; !slices.Equal(m, []corev1.PersistentVolumeAccessMode{"ReadWriteOncePod"}) {
				return fmt.Errorf("%v", m)
			}
			return nil
		}), []mutation{{set, "[ReadWriteOncePod]", "[ReadWriteOnce]"}, {"kubernetes/prod/size.yaml", "[ReadWriteOncePod]", "[ReadWriteMany]"}}},
		{"the collector knows its grace period, and reports within it", clusters(func(c *cluster, pod corev1.PodSpec, config map[string]any) error {
			grace, err := time.ParseDuration(fmt.Sprint(config["grace"]))
			if err != nil {
				return err
			}
			timeout, err := time.ParseDuration(fmt.Sprint(config["drain-timeout"]))
			if int64(grace/time.Second) != *pod.TerminationGracePeriodSeconds || timeout >= grace || config["lifecycle"] != "kube" {
				return fmt.Errorf("%v of %v, drain-timeout %v", grace, *pod.TerminationGracePeriodSeconds, timeout)
			}
			return err
		}), []mutation{
			{set, "terminationGracePeriodSeconds: 3600", "terminationGracePeriodSeconds: 30"},
			{"kubernetes/prod/collector.yaml", "grace: 3600s", "grace: 600s"},
			{"kubernetes/prod/collector.yaml", "drain-timeout: 3540s", "drain-timeout: 3600s"},
		}},
		{"the preStop hook and the probes ask the status page", clusters(func(_ *cluster, pod corev1.PodSpec, config map[string]any) error {
			c := pod.Containers[0]
			if c.Lifecycle == nil || !slices.Equal(c.Lifecycle.PreStop.Exec.Command, []string{"/collector", fmt.Sprint("-prestop=", config["http"])}) {
				return fmt.Errorf("preStop %v", c.Lifecycle)
			}
			if r := c.ReadinessProbe; r.HTTPGet.Path != "/readyz" || r.FailureThreshold != 1 || r.PeriodSeconds > 5 {
				return fmt.Errorf("readiness %v", r)
			}
			if c.LivenessProbe.HTTPGet.Path != "/livez" || c.StartupProbe.HTTPGet.Path != "/livez" {
				return fmt.Errorf("a collector that cannot receive would be killed")
			}
			for _, p := range c.Ports {
				if p.Name == "http" && fmt.Sprint(":", p.ContainerPort) == config["http"] {
					return nil
				}
			}
			return fmt.Errorf("no port http at %v", config["http"])
		}), []mutation{
			{set, "[/collector, -prestop=:8080]", "[/collector, -prestop=:8081]"},
			{set, "httpGet: {path: /readyz, port: http}", "httpGet: {path: /livez, port: http}"},
			{set, "            httpGet: {path: /livez, port: http}\n            periodSeconds: 10", "            httpGet: {path: /readyz, port: http}\n            periodSeconds: 10"},
			{set, "containerPort: 8080", "containerPort: 8081"},
		}},
		{"pods have no privileges", clusters(func(_ *cluster, pod corev1.PodSpec, _ map[string]any) error { return restricted(pod) }), []mutation{
			{set, "runAsNonRoot: true", "runAsNonRoot: false"},
			{set, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"},
			{set, "drop: [ALL]", "drop: []"},
			{set, "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true"},
			{set, "seccompProfile: {type: RuntimeDefault}", "seccompProfile: {type: Unconfined}"},
			{set, "automountServiceAccountToken: false", "automountServiceAccountToken: true"},
		}},
		{"the spool is on the claim", clusters(func(_ *cluster, pod corev1.PodSpec, config map[string]any) error {
			for _, m := range pod.Containers[0].VolumeMounts {
				if m.Name == "spool" && m.MountPath == config["spool"] {
					return nil
				}
			}
			return fmt.Errorf("%v is not mounted", config["spool"])
		}), []mutation{{set, "mountPath: /var/spool/penstock", "mountPath: /var/lib/penstock"}}},
		{"listeners, ports, services and the policy are the same", clusters(samePorts), []mutation{
			{set, "{name: syslog-udp, containerPort: 5140, protocol: UDP}", "{name: syslog-udp, containerPort: 514, protocol: UDP}"},
			{base + "services.yaml", "targetPort: syslog-udp, protocol: UDP", "targetPort: syslog-tcp, protocol: UDP"},
			{base + "network.yaml", "        - {port: 5140, protocol: UDP}\n", ""},
			{"kubernetes/prod/collector.yaml", "udp://:5140", "udp://:5141"},
			{base + "services.yaml", "syslog-udp, protocol: UDP}", "syslog-udp, protocol: UDP}\n    - {name: tcp, port: 514, targetPort: syslog-tcp, protocol: TCP}"},
		}},
		{"records keep the address of their sender", clusters(func(c *cluster, _ corev1.PodSpec, _ map[string]any) error {
			for name, s := range c.service {
				if s.Spec.Type == "LoadBalancer" && s.Spec.ExternalTrafficPolicy != "Local" {
					return fmt.Errorf("%s", name)
				}
			}
			return nil
		}), []mutation{{base + "services.yaml", "externalTrafficPolicy: Local\n  selector: {app.kubernetes.io/name: collector}\n  ports:\n    - {name: syslog, port: 514, targetPort: syslog-udp", "selector: {app.kubernetes.io/name: collector}\n  ports:\n    - {name: syslog, port: 514, targetPort: syslog-udp"}}},
		{"one pod drains at a time, and the policy and the budget mean these pods", clusters(func(c *cluster, _ corev1.PodSpec, _ map[string]any) error {
			labels := c.pods.Spec.Template.Labels
			for k, v := range c.budget.Spec.Selector.MatchLabels {
				if labels[k] != v {
					return fmt.Errorf("the budget selects %s=%s", k, v)
				}
			}
			for k, v := range c.network.Spec.PodSelector.MatchLabels {
				if labels[k] != v {
					return fmt.Errorf("the policy selects %s=%s", k, v)
				}
			}
			if c.budget.Spec.MaxUnavailable.IntValue() != 1 || len(c.network.Spec.PolicyTypes) != 2 {
				return fmt.Errorf("%v, %v", c.budget.Spec, c.network.Spec.PolicyTypes)
			}
			return nil
		}), []mutation{
			{base + "disruption.yaml", "maxUnavailable: 1", "maxUnavailable: 2"},
			{base + "kustomization.yaml", "includeTemplates: true", "includeTemplates: false"},
			{base + "disruption.yaml", "app.kubernetes.io/name: collector", "app: collector"},
			{base + "network.yaml", "policyTypes: [Ingress, Egress]", "policyTypes: [Ingress]"},
		}},
		{"the Job empties a claim of prod and ends", emptiesClaim, []mutation{
			{"kubernetes/adopt/job.yaml", "exec: {command: [/collector, -prestop=:8080]}", "exec: {command: [/collector, -version]}"},
			{"kubernetes/adopt/job.yaml", "claimName: spool-collector-4", "claimName: spool-4"},
			{"kubernetes/adopt/job.yaml", "restartPolicy: OnFailure", "restartPolicy: Never"},
			{"kubernetes/adopt/job.yaml", "app.kubernetes.io/name: collector-adopt", "app.kubernetes.io/name: collector"},
			{"kubernetes/adopt/job.yaml", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"},
			{"kubernetes/adopt/collector.yaml", "  idc:\n", "  dc:\n"},
			{"kubernetes/adopt/kustomization.yaml", "namespace: penstock", "namespace: default"},
		}},
	})
}

func restricted(pod corev1.PodSpec) error {
	p := pod.SecurityContext
	if p == nil || p.RunAsNonRoot == nil || !*p.RunAsNonRoot || p.SeccompProfile == nil || p.SeccompProfile.Type != "RuntimeDefault" ||
		pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		return fmt.Errorf("pod: %v", p)
	}
	for _, c := range pod.Containers {
		s := c.SecurityContext
		if s == nil || !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 {
			return fmt.Errorf("%s: %v", c.Name, s)
		}
	}
	return nil
}

// samePorts: each listener of the collector has a container port, a Service for its protocol alone, and a rule that admits it.
func samePorts(c *cluster, pod corev1.PodSpec, config map[string]any) error {
	for class, v := range config["classes"].(map[string]any) {
		for _, l := range at(v, "listen").([]any) {
			scheme, rest, _ := strings.Cut(l.(string), "://:")
			number, _, _ := strings.Cut(rest, "?")
			protocol := corev1.Protocol(strings.ToUpper(scheme))
			i := slices.IndexFunc(pod.Containers[0].Ports, func(p corev1.ContainerPort) bool {
				return p.Protocol == protocol && fmt.Sprint(p.ContainerPort) == number
			})
			if i < 0 {
				return fmt.Errorf("class %s listens at %s, which is no port of the container", class, l)
			}
			s := c.service["collector-"+scheme]
			if s == nil || len(s.Spec.Ports) != 1 || s.Spec.Ports[0].Protocol != protocol || s.Spec.Ports[0].TargetPort.String() != pod.Containers[0].Ports[i].Name {
				return fmt.Errorf("no Service of %s alone: %v", protocol, s)
			}
			if !slices.ContainsFunc(c.network.Spec.Ingress[0].Ports, func(p networkingv1.NetworkPolicyPort) bool {
				return *p.Protocol == protocol && p.Port.String() == number
			}) {
				return fmt.Errorf("the policy does not admit %s %s", protocol, number)
			}
		}
	}
	return nil
}

func emptiesClaim(w *world) error {
	prod, err := w.build("prod")
	if err != nil {
		return err
	}
	c, err := w.build("adopt")
	if err != nil {
		return err
	}
	pod := c.job.Spec.Template.Spec
	if err := restricted(pod); err != nil {
		return err
	}
	claim := ""
	for _, v := range pod.Volumes {
		if v.PersistentVolumeClaim != nil {
			claim = v.PersistentVolumeClaim.ClaimName
		}
	}
	template := prod.pods.Spec.VolumeClaimTemplates[0].Name + "-" + prod.pods.Name + "-"
	end := pod.Containers[0].StartupProbe.Exec
	switch {
	case !strings.HasPrefix(claim, template):
		return fmt.Errorf("claim %s, and those of the pods are %s…", claim, template)
	case pod.RestartPolicy != "OnFailure":
		return fmt.Errorf("a drain that is incomplete is not repeated")
	case end == nil || !slices.Equal(end.Command, prod.pods.Spec.Template.Spec.Containers[0].Lifecycle.PreStop.Exec.Command):
		return fmt.Errorf("nothing tells it to end")
	case c.job.Spec.Template.Labels["app.kubernetes.io/name"] == prod.service["collector-udp"].Spec.Selector["app.kubernetes.io/name"]:
		return fmt.Errorf("the Services send to it")
	case c.job.Namespace != prod.pods.Namespace:
		return fmt.Errorf("it is in namespace %s", c.job.Namespace)
	case w.Tree["kubernetes/adopt/collector.yaml"] != w.Tree["kubernetes/prod/collector.yaml"]:
		return fmt.Errorf("its configuration is not that of the pods")
	}
	return nil
}
