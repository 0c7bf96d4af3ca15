package draintest

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/penstock-go/penstock/drain/asg"
)

// ServeHTTP implements the part of the Auto Scaling API (AWS Query protocol, version 2011-01-01) that package asg uses.
// It checks no signature.
func (g *Group) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<16)
	if err := r.ParseForm(); err != nil {
		apiError(w, http.StatusBadRequest, "ValidationError", err.Error())
		return
	}
	ctx, f := r.Context(), r.PostForm
	action := f.Get("Action")
	var result any
	var err error
	switch action {
	case "DescribeAutoScalingInstances":
		var i asg.Instance
		id := f.Get("InstanceIds.member.1")
		if i, err = g.Instance(ctx, id); err == nil && i.Group != "" && g.asked(r) {
			result = instancesXML{Instances: []instanceXML{{id, i.Group, i.State, "HEALTHY"}}}
		}
	case "DescribeAutoScalingGroups":
		var st asg.Settings
		if st, err = g.Settings(ctx, f.Get("AutoScalingGroupNames.member.1")); err == nil {
			trigger := "terminate"
			if st.Retain {
				trigger = "retain"
			}
			result = groupsXML{Groups: []groupXML{{g.o.Name, trigger}}}
		}
	case "DescribeLifecycleHooks":
		var st asg.Settings
		if st, err = g.Settings(ctx, f.Get("AutoScalingGroupName")); err == nil {
			var hooks hooksXML
			for _, h := range st.Hooks {
				hooks.Hooks = append(hooks.Hooks, hookXML{
					h.Name, g.o.Name, "autoscaling:EC2_INSTANCE_TERMINATING", string(h.DefaultResult),
					int(h.Heartbeat / time.Second), int(h.Global / time.Second),
				})
			}
			result = hooks
		}
	case "RecordLifecycleActionHeartbeat", "CompleteLifecycleAction":
		answer := asg.Heartbeat
		if action == "CompleteLifecycleAction" {
			answer = asg.Answer(f.Get("LifecycleActionResult"))
		}
		err = g.Answer(ctx, asg.Action{Group: f.Get("AutoScalingGroupName"), Hook: f.Get("LifecycleHookName"), Instance: f.Get("InstanceId")}, answer)
	case "SetInstanceProtection":
		err = g.Protect(ctx, f.Get("AutoScalingGroupName"), f.Get("InstanceIds.member.1"), f.Get("ProtectedFromScaleIn") == "true")
	default:
		err = fmt.Errorf("draintest: unknown action %q", action)
	}
	if errors.Is(err, asg.ErrNoAction) {
		apiError(w, http.StatusBadRequest, "ValidationError", "No active Lifecycle Action found with instance ID "+f.Get("InstanceId"))
		return
	}
	if err != nil {
		apiError(w, http.StatusServiceUnavailable, "ServiceUnavailable", err.Error())
		return
	}
	var b []byte
	if result != nil {
		b, err = xml.Marshal(result)
	}
	if err != nil {
		apiError(w, http.StatusInternalServerError, "InternalFailure", err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	fmt.Fprintf(w, `<%[1]sResponse xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/"><%[1]sResult>%[2]s</%[1]sResult>`+
		`<ResponseMetadata><RequestId>draintest</RequestId></ResponseMetadata></%[1]sResponse>`, action, b)
}

// asked reports whether a request was signed for the group's region (AWS Signature Version 4, credential scope).
func (g *Group) asked(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Authorization"), "/"+g.o.Region+"/autoscaling/aws4_request")
}

type instancesXML struct {
	XMLName   xml.Name      `xml:"AutoScalingInstances"`
	Instances []instanceXML `xml:"member"`
}

type instanceXML struct {
	InstanceID string `xml:"InstanceId"`
	Group      string `xml:"AutoScalingGroupName"`
	State      string `xml:"LifecycleState"`
	Health     string `xml:"HealthStatus"`
}

type groupsXML struct {
	XMLName xml.Name   `xml:"AutoScalingGroups"`
	Groups  []groupXML `xml:"member"`
}

type groupXML struct {
	Name    string `xml:"AutoScalingGroupName"`
	Abandon string `xml:"InstanceLifecyclePolicy>RetentionTriggers>TerminateHookAbandon"`
}

type hooksXML struct {
	XMLName xml.Name  `xml:"LifecycleHooks"`
	Hooks   []hookXML `xml:"member"`
}

type hookXML struct {
	Name          string `xml:"LifecycleHookName"`
	Group         string `xml:"AutoScalingGroupName"`
	Transition    string `xml:"LifecycleTransition"`
	DefaultResult string `xml:"DefaultResult"`
	Heartbeat     int    `xml:"HeartbeatTimeout"`
	Global        int    `xml:"GlobalTimeout"`
}

func apiError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	fmt.Fprint(w, `<ErrorResponse xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/"><Error><Type>Sender</Type><Code>`+code+`</Code><Message>`)
	_ = xml.EscapeText(w, []byte(message))
	fmt.Fprint(w, `</Message></Error><RequestId>draintest</RequestId></ErrorResponse>`)
}

// token is the token that the metadata service issues.
const token = "draintest-token"

// ServeHTTP implements the instance metadata service, version 2: a request without a token is refused.
func (i *Instance) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const ttl = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
	if r.URL.Path == "/latest/api/token" {
		if r.Method != http.MethodPut || r.Header.Get(ttl) == "" {
			http.Error(w, "PUT with "+ttl, http.StatusBadRequest)
			return
		}
		w.Header().Set(ttl, r.Header.Get(ttl))
		fmt.Fprint(w, token)
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/latest/meta-data/")
	switch {
	case r.Header.Get("X-Aws-Ec2-Metadata-Token") != token:
		http.Error(w, "no token", http.StatusUnauthorized)
	case r.Method != http.MethodGet:
		http.Error(w, "GET only", http.StatusMethodNotAllowed)
	case r.URL.Path == "/latest/dynamic/instance-identity/document": // the SDK takes the region from here
		fmt.Fprintf(w, `{"instanceId":%q,"region":%q}`, i.id, i.g.o.Region)
	case !ok:
		http.NotFound(w, r)
	default:
		v, err := i.Get(r.Context(), path)
		if errors.Is(err, fs.ErrNotExist) {
			http.NotFound(w, r)
		} else if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		} else {
			fmt.Fprint(w, v)
		}
	}
}
