package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// fakeEC2 simulates EC2's volumes with its real protocol. It follows the rules that matter to a reaper: a volume is attached to
// one instance, under a device name that is free there, and only while it is available; attaching, detaching and deleting take
// a while; a volume in use cannot be deleted. Descriptions may be out of date. It throttles requests and fails them, before or
// after they take effect. It also enforces the fleet's policy.
type fakeEC2 struct {
	t      *testing.T
	fleet  string
	zone   string
	now    func() time.Time
	faulty func() fault // the fault of a request
	stale  func() int   // by how many changes a description is out of date
	slots  int          // per instance

	mu      sync.Mutex
	volumes map[string]*fakeVolume
	deletes func(id string) // before one is deleted
	detach  func(id string) // before one is detached
	calls   map[string]int
}

type fault int

const (
	works fault = iota
	throttled
	failsBefore
	failsAfter
)

// fakeVolume is a volume with its history.
type fakeVolume struct {
	Volume
	until time.Time // when a transition ends
	past  []Volume
}

func newFakeEC2(t *testing.T, now func() time.Time) *fakeEC2 {
	return &fakeEC2{
		t: t, fleet: "penstock", zone: "eu-central-1a", now: now, slots: 6, volumes: map[string]*fakeVolume{}, calls: map[string]int{},
		faulty: func() fault { return works }, stale: func() int { return 0 }, deletes: func(string) {}, detach: func(string) {},
	}
}

// client returns a reaper's EC2 client on an instance. It talks to the fake through the SDK, which does not retry requests
// here: the test checks what a reaper does when a request fails.
func (e *fakeEC2) client(instance string) *cloud {
	return newCloud(aws.Config{Credentials: credentials.NewStaticCredentialsProvider("a", "b", "")}, "eu-central-1", instance, e.zone, e.fleet, func(o *ec2.Options) {
		o.HTTPClient = e
		o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts = 1 })
	})
}

// Do is an HTTP client for the SDK.
func (e *fakeEC2) Do(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w.Result(), nil
}

// apiError is an answer of EC2.
type apiError struct {
	status        int
	code, message string
}

func fails(code, format string, a ...any) *apiError {
	return &apiError{400, code, fmt.Sprintf(format, a...)}
}

func (e *fakeEC2) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	q, _ := url.ParseQuery(string(b))
	e.mu.Lock()
	defer e.mu.Unlock()
	action, f := q.Get("Action"), e.faulty()
	e.calls[action]++
	var out any
	var err *apiError
	switch f {
	case throttled:
		err = &apiError{503, "RequestLimitExceeded", "Request limit exceeded."}
	case failsBefore:
		err = &apiError{500, "InternalError", "An internal error has occurred"}
	default:
		e.advance()
		out, err = e.act(action, q)
		if f == failsAfter {
			err = &apiError{500, "InternalError", "An internal error has occurred"}
		}
	}
	w.Header().Set("Content-Type", "text/xml")
	if err != nil {
		w.WriteHeader(err.status)
		fmt.Fprintf(w, "<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors><RequestID>1</RequestID></Response>", err.code, err.message)
		return
	}
	fmt.Fprintf(w, "<%sResponse>", action)
	if err := xml.NewEncoder(w).Encode(out); err != nil {
		e.t.Error(err)
	}
	fmt.Fprintf(w, "</%sResponse>", action)
}

func (e *fakeEC2) act(action string, q url.Values) (any, *apiError) {
	type ok struct {
		XMLName xml.Name `xml:"return"`
		Is      bool     `xml:",chardata"`
	}
	if action == "DescribeVolumes" {
		return e.describe(q)
	}
	id := q.Get("VolumeId")
	if action == "CreateTags" {
		id = q.Get("ResourceId.1")
	}
	v := e.volumes[id]
	if v == nil {
		return nil, fails("InvalidVolume.NotFound", "The volume '%s' does not exist.", id)
	}
	if v.Tags[tagFleet] != e.fleet {
		return nil, &apiError{403, "UnauthorizedOperation", "You are not authorized to perform this operation."}
	}
	var err *apiError
	switch action {
	case "AttachVolume":
		err = e.attach(v, q.Get("InstanceId"), q.Get("Device"))
	case "DetachVolume":
		err = e.detachVolume(v, q)
	case "CreateTags":
		err = e.tag(v, q)
	case "DeleteVolume":
		err = e.delete(v)
	default:
		err = fails("InvalidAction", "%s", action)
	}
	return ok{Is: true}, err
}

// change changes a volume, and keeps its previous state.
func (v *fakeVolume) change(f func()) {
	old := v.Volume
	old.Tags = maps.Clone(v.Tags)
	if v.Attached != nil {
		a := *v.Attached
		old.Attached = &a
	}
	v.past = append(v.past, old)
	f()
}

// advance completes the transitions that are due.
func (e *fakeEC2) advance() {
	for id, v := range e.volumes {
		if v.until.IsZero() || e.now().Before(v.until) {
			continue
		}
		v.until = time.Time{}
		switch {
		case v.State == "deleting":
			delete(e.volumes, id)
		case v.Attached != nil && v.Attached.State == "attaching":
			v.change(func() { a := *v.Attached; a.State = "attached"; v.Attached = &a })
		case v.Attached != nil && v.Attached.State == "detaching":
			v.change(func() { v.Attached, v.State = nil, "available" })
		}
	}
}

func (e *fakeEC2) attach(v *fakeVolume, instance, device string) *apiError {
	n := 0
	for _, x := range e.volumes {
		if x.Attached != nil && x.Attached.Instance == instance {
			if n++; x.Attached.Device == device {
				return fails("InvalidParameterValue", "Invalid value '%s' for unixDevice. Attachment point %s is already in use", device, device)
			}
		}
	}
	switch {
	case v.State == "in-use":
		return fails("VolumeInUse", "%s is already attached to an instance", v.ID)
	case v.State != "available":
		return fails("IncorrectState", "Volume %s is %s", v.ID, v.State)
	case n >= e.slots:
		return fails("AttachmentLimitExceeded", "too many")
	}
	v.change(func() { v.State, v.Attached = "in-use", &Attachment{instance, device, "attaching", e.now()} })
	v.until = e.now().Add(10 * time.Second)
	return nil
}

func (e *fakeEC2) detachVolume(v *fakeVolume, q url.Values) *apiError {
	a := v.Attached
	switch {
	case q.Get("Force") == "true":
		e.t.Errorf("%s is detached by force", v.ID)
	case v.State != "in-use":
		return fails("IncorrectState", "Volume '%s' is in the '%s' state.", v.ID, v.State)
	case a.Instance != q.Get("InstanceId"): // the policy allows the reaper's own instance only
		return &apiError{403, "UnauthorizedOperation", "You are not authorized to perform this operation."}
	case a.State == "detaching":
		return nil
	}
	e.detach(v.ID)
	v.change(func() { x := *a; x.State = "detaching"; v.Attached = &x })
	v.until = e.now().Add(10 * time.Second)
	return nil
}

func (e *fakeEC2) tag(v *fakeVolume, q url.Values) *apiError {
	tags := maps.Clone(v.Tags)
	for i := 1; q.Has(fmt.Sprintf("Tag.%d.Key", i)); i++ {
		key, value := q.Get(fmt.Sprintf("Tag.%d.Key", i)), q.Get(fmt.Sprintf("Tag.%d.Value", i))
		if key != tagState && key != tagReason && key != tagSince {
			return &apiError{403, "UnauthorizedOperation", "You are not authorized to perform this operation."}
		}
		if len(value) > 256 {
			return fails("InvalidParameterValue", "Tag value exceeds the maximum length of 256 characters")
		}
		tags[key] = value
	}
	v.change(func() { v.Tags = tags })
	return nil
}

func (e *fakeEC2) delete(v *fakeVolume) *apiError {
	switch {
	case v.Tags[tagState] != delivered:
		return &apiError{403, "UnauthorizedOperation", "You are not authorized to perform this operation."}
	case v.State == "in-use":
		return fails("VolumeInUse", "Volume %s is currently attached to %s", v.ID, v.Attached.Instance)
	case v.State != "available":
		return fails("IncorrectState", "Volume %s is %s", v.ID, v.State)
	}
	e.deletes(v.ID)
	v.change(func() { v.State = "deleting" })
	v.until = e.now().Add(20 * time.Second)
	return nil
}

// The shape of an answer to DescribeVolumes.
type (
	xmlTag        struct{ Key, Value string }
	xmlAttachment struct {
		VolumeID   string `xml:"volumeId"`
		InstanceID string `xml:"instanceId"`
		Device     string `xml:"device"`
		Status     string `xml:"status"`
		Time       string `xml:"attachTime"`
	}
	xmlVolume struct {
		ID          string          `xml:"volumeId"`
		Status      string          `xml:"status"`
		Zone        string          `xml:"availabilityZone"`
		Created     string          `xml:"createTime"`
		Tags        []xmlTag        `xml:"tagSet>item"`
		Attachments []xmlAttachment `xml:"attachmentSet>item"`
	}
	xmlVolumes struct {
		XMLName xml.Name    `xml:"volumeSet"`
		Items   []xmlVolume `xml:"item"`
	}
)

// MarshalXML writes a tag as EC2 does.
func (t xmlTag) MarshalXML(enc *xml.Encoder, start xml.StartElement) error {
	return enc.EncodeElement(struct {
		K string `xml:"key"`
		V string `xml:"value"`
	}{t.Key, t.Value}, start)
}

func (e *fakeEC2) describe(q url.Values) (any, *apiError) {
	want := map[string]string{}
	for i := 1; q.Has(fmt.Sprintf("Filter.%d.Name", i)); i++ {
		want[q.Get(fmt.Sprintf("Filter.%d.Name", i))] = q.Get(fmt.Sprintf("Filter.%d.Value.1", i))
	}
	out := xmlVolumes{}
	for _, id := range slices.Sorted(maps.Keys(e.volumes)) {
		v := e.volumes[id]
		x := v.Volume
		if n := min(e.stale(), len(v.past)); n > 0 {
			x = v.past[len(v.past)-n]
		}
		if x.Zone != want["availability-zone"] || x.Tags[tagFleet] != want["tag:"+tagFleet] {
			continue
		}
		o := xmlVolume{ID: x.ID, Status: x.State, Zone: x.Zone, Created: x.Created.UTC().Format(time.RFC3339)}
		for _, k := range slices.Sorted(maps.Keys(x.Tags)) {
			o.Tags = append(o.Tags, xmlTag{k, x.Tags[k]})
		}
		if a := x.Attached; a != nil {
			o.Attachments = append(o.Attachments, xmlAttachment{x.ID, a.Instance, a.Device, a.State, a.Since.UTC().Format(time.RFC3339)})
		}
		out.Items = append(out.Items, o)
	}
	return out, nil
}

// launch makes the volume of a new instance or, without an instance, an available volume.
func (e *fakeEC2) launch(id, instance string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	v := &fakeVolume{Volume: Volume{ID: id, Zone: e.zone, State: "available", Created: e.now(), Tags: map[string]string{tagFleet: e.fleet}}}
	if instance != "" {
		v.State, v.Attached = "in-use", &Attachment{instance, "/dev/sdf", "attached", e.now()}
	}
	e.volumes[id] = v
}

// terminate ends an instance, which frees its volumes.
func (e *fakeEC2) terminate(instance string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, v := range e.volumes {
		if v.Attached != nil && v.Attached.Instance == instance {
			v.change(func() { v.State, v.Attached = "available", nil })
			v.until = time.Time{}
		}
	}
}

// get returns the current state of a volume, nil if there is none.
func (e *fakeEC2) get(id string) *Volume {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.advance()
	if v := e.volumes[id]; v != nil {
		x := v.Volume
		return &x
	}
	return nil
}

// someFaults fails one request in n.
func someFaults(rng *rand.Rand, n int) func() fault {
	return func() fault {
		if rng.IntN(n) > 0 {
			return works
		}
		return fault(1 + rng.IntN(3))
	}
}

// TestCloud drives the SDK's client against the fake, through every answer on which a reaper acts.
func TestCloud(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	e := newFakeEC2(t, func() time.Time { return now })
	testCloud(t, e.client("i-1"), e.client("i-2"), true, func() string { e.launch("vol-1", ""); return "vol-1" }, func() { now = now.Add(time.Minute) })
	if e.calls["DescribeVolumes"] == 0 {
		t.Error("the fake was not asked")
	}
	e.launch("vol-2", "")
	e.faulty = func() fault { return throttled }
	if err := e.client("i-1").Attach(t.Context(), "vol-2", "/dev/sdg"); err == nil || !strings.Contains(err.Error(), "RequestLimitExceeded") {
		t.Errorf("throttled: %v", err)
	}
}
