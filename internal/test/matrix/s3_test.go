package matrix

import (
	"bytes"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/penstock-go/penstock/internal/test/faultproxy"
	"github.com/penstock-go/penstock/internal/test/s3d"
	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/s3ship"
)

// isData tells objects from manifests.
func isData(r *http.Request) bool { return strings.Contains(r.URL.Path, "/class=") }

// first is a plan with a fault for the first n data requests of an operation.
func first(want string, n int32, f s3d.Fault) faultproxy.Plan {
	var met atomic.Int32
	return func(op string, _ int, r *http.Request) s3d.Fault {
		if op == want && isData(r) && met.Add(1) <= n {
			return f
		}
		return s3d.Fault{}
	}
}

// TestOneAnswer: each of these faults affects single requests and passes by itself.
func TestOneAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		plan  func() faultproxy.Plan
		large bool // in parts
		met   string
	}{
		"put, answer lost":       {plan: func() faultproxy.Plan { return first("Put", 2, s3d.Fault{Lose: true}) }, met: "Put"},
		"complete, answer lost":  {plan: func() faultproxy.Plan { return first("Complete", 2, s3d.Fault{Lose: true}) }, large: true, met: "Complete"},
		"complete, 200 is error": {plan: func() faultproxy.Plan { return first("Complete", 2, s3d.Fault{ErrorBody: true}) }, large: true, met: "Complete"},
		"complete, done and 200 is error": {
			plan: func() faultproxy.Plan { return first("Complete", 2, s3d.Fault{Lose: true, ErrorBody: true}) }, large: true, met: "Complete",
		},
		"put, 409": {plan: func() faultproxy.Plan {
			return first("Put", 4, s3d.Fault{Status: 409, Code: "ConditionalRequestConflict"})
		}, met: "Put"},
		"complete, 409": {plan: func() faultproxy.Plan {
			return first("Complete", 3, s3d.Fault{Status: 409, Code: "ConditionalRequestConflict"})
		}, large: true, met: "Complete"},
		"put, bit flip":    {plan: func() faultproxy.Plan { return first("Put", 3, s3d.Fault{Flip: true}) }, met: "Put"},
		"part, bit flip":   {plan: func() faultproxy.Plan { return first("UploadPart", 2, s3d.Fault{Flip: true}) }, large: true, met: "UploadPart"},
		"part, dropped":    {plan: func() faultproxy.Plan { return first("UploadPart", 2, s3d.Fault{Drop: true}) }, large: true, met: "UploadPart"},
		"head, lost":       {plan: func() faultproxy.Plan { return first("Head", 5, s3d.Fault{Lose: true}) }, met: "Head"},
		"silence on a put": {plan: func() faultproxy.Plan { return first("Put", 1, s3d.Fault{Hang: true}) }, met: "Put"},
		"clock skew": {plan: func() faultproxy.Plan {
			return first("Put", 3, s3d.Fault{Status: 403, Code: "RequestTimeTooSkewed"})
		}, met: "Put"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, setup{})
			r.s3.SetPlan(c.plan())
			if c.large {
				r.noise(2, 6<<20)
				r.start(plain)
			} else {
				r.text(6, 50)
				r.start()
			}
			r.finish()
			if r.s3.Seen(c.met) == 0 {
				t.Errorf("no %s was seen: the test is void", c.met)
			}
		})
	}
}

// TestTakenOurs: a Put arrives, its answer is lost, and the store does not say at first that the key is there (an account
// without s3:ListBucket). The next Put meets 412, and its own object.
func TestTakenOurs(t *testing.T) {
	r := newRig(t, setup{})
	var lost, refused sync.Map
	var puts atomic.Int32
	r.s3.SetPlan(func(op string, _ int, req *http.Request) s3d.Fault {
		if !isData(req) {
			return s3d.Fault{}
		}
		switch op {
		case "Put":
			puts.Add(1)
			if _, again := lost.LoadOrStore(req.URL.Path, true); !again {
				return s3d.Fault{Lose: true}
			}
		case "Head":
			// The two that frame the first Put, and the one before the second.
			n, _ := refused.LoadOrStore(req.URL.Path, new(atomic.Int32))
			if n.(*atomic.Int32).Add(1) <= 3 {
				return s3d.Fault{Status: http.StatusForbidden}
			}
		}
		return s3d.Fault{}
	})
	r.text(4, 50)
	r.start()
	r.finish()
	if puts.Load() < 8 {
		t.Errorf("%d Puts of 4 objects: no key was taken, the test is void", puts.Load())
	}
}

// TestTakenForeign: foreign bytes are under a key. They are never touched, the chain stops there and reports it, and the other
// destination continues. When the bytes are gone, this destination continues, too.
func TestTakenForeign(t *testing.T) {
	foreign := []byte("somebody else's")
	r := newRig(t, setup{})
	direct, err := s3ship.New(aws.Config{Credentials: static{r.gw.Access, r.gw.Secret}}, testserver.Bucket, "p",
		&s3ship.Options{Endpoint: r.gw.Endpoint, PathStyle: true})
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close()
	var once sync.Once
	var taken string
	r.s3.SetPlan(func(op string, _ int, req *http.Request) s3d.Fault {
		if op == "Put" && isData(req) {
			once.Do(func() { // between the look and the Put: the condition has to find it
				taken = strings.TrimPrefix(req.URL.Path, "/"+testserver.Bucket+"/p/")
				o := ship.BytesObject(taken, "", foreign)
				if _, err := direct.Put(t.Context(), o, io.NewSectionReader(bytes.NewReader(foreign), 0, o.Size)); err != nil {
					t.Error(err)
				}
			})
		}
		return s3d.Fault{}
	})
	r.text(4, 50)
	r.start()
	r.state("s3", ship.StateConflict)
	r.delivered("idc")
	if got := read(t, filepath.Join(r.dirs["s3"], taken)); got != string(foreign) {
		t.Errorf("the stranger's object is now %q", got)
	}
	if log := r.log.String(); !strings.Contains(log, "taken by other bytes") {
		t.Errorf("the log:\n%s", log)
	}
	remove(t, filepath.Join(r.dirs["s3"], taken))
	r.finish()
}

// TestOutage: everything is answered by an error for a while; it is seen, said, and passes.
func TestOutage(t *testing.T) {
	for name, c := range map[string]struct {
		fault s3d.Fault
		state ship.State
		says  string
	}{
		"503":                 {s3d.Fault{Status: 503, Code: "SlowDown"}, ship.StateRetrying, "503"},
		"403":                 {s3d.Fault{Status: 403, Code: "AccessDenied"}, ship.StateParked, "allow s3:"},
		"404, bucket gone":    {s3d.Fault{Status: 404, Code: "NoSuchBucket"}, ship.StateParked, "bucket"},
		"expired credentials": {s3d.Fault{Status: 400, Code: "ExpiredToken"}, ship.StateParked, "credentials"},
		"connections dropped": {s3d.Fault{Drop: true}, ship.StateRetrying, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, setup{})
			r.text(2, 50)
			r.start()
			r.delivered("s3")
			r.s3.SetPlan(func(string, int, *http.Request) s3d.Fault { return c.fault })
			r.text(4, 50)
			r.state("s3", c.state)
			r.delivered("idc")
			if err := r.sh.Stats()["s3"].Err; !strings.Contains(err.Error(), c.says) {
				t.Errorf("the error does not say %q: %v", c.says, err)
			}
			r.honest()
			// Then one request in ten, for what is left of the row.
			var n atomic.Int32
			r.s3.SetPlan(func(string, int, *http.Request) s3d.Fault {
				if n.Add(1)%10 == 0 {
					return c.fault
				}
				return s3d.Fault{}
			})
			r.text(4, 50)
			r.delivered("s3")
			r.s3.SetPlan(nil)
			r.finish()
		})
	}
}
