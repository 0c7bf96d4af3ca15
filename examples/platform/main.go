// Platform simulates, on loopback, an EC2 instance of an Auto Scaling group or an ECS task, so that a scale-in can be tried by
// hand with any service that uses package drain:
//
//	go run ./examples/platform
//	(in another shell, with the exports it prints)
//	go run ./examples/collector -spool /tmp/spool -listen vpn=udp://127.0.0.1:5140 -dest a=file:///tmp/a -quiesce 5s
//	curl -X POST http://127.0.0.1:9900/terminate
//	curl http://127.0.0.1:9900/state
//
// POST /terminate terminates the instance, /reclaim announces a spot interruption, and GET /state shows what became of the
// instance, with every call that the service has made.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/penstock-go/penstock/drain/draintest"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:9900", "`ADDR` on loopback to serve at")
	heartbeat := flag.Duration("heartbeat", 2*time.Minute, "`TIME` without a heartbeat after which the hook times out")
	deregistration := flag.Duration("deregistration", 5*time.Second, "`TIME` that the load balancers need for deregistration before the hook waits")
	terminate := flag.Bool("terminate", false, "terminate an instance whose hook is abandoned, instead of retaining it")
	showVersion := flag.Bool("version", false, "print the version and exit")
	flag.Parse()
	if *showVersion {
		fmt.Println("platform", version())
		return
	}

	l, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	if ip := l.Addr().(*net.TCPAddr).IP; !ip.IsLoopback() {
		log.Fatalf("%v is not on loopback, and anyone could terminate the instance", ip)
	}
	exports(os.Stdout, "http://"+l.Addr().String())
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: handler(&draintest.GroupOptions{
		HeartbeatTimeout: *heartbeat, Deregistration: *deregistration, Terminate: *terminate,
	})}
	log.Fatal(srv.Serve(l))
}

// exports prints the environment variables that make a service use this platform.
func exports(w io.Writer, url string) {
	fmt.Fprintf(w, `export AWS_EC2_METADATA_SERVICE_ENDPOINT=%[1]s AWS_ENDPOINT_URL_AUTO_SCALING=%[1]s
export AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=fake AWS_SECRET_ACCESS_KEY=fake
# or, for an ECS task: export ECS_AGENT_URI=%[1]s/ecs
`, url)
}

// handler simulates one instance and one task.
func handler(o *draintest.GroupOptions) http.Handler {
	g, task := draintest.NewGroup(o), &draintest.ECSTask{}
	i := g.Launch()
	mux := http.NewServeMux()
	mux.Handle("POST /{$}", g)
	mux.Handle("/latest/", i)
	mux.Handle("/ecs/", task)
	mux.HandleFunc("POST /terminate", func(http.ResponseWriter, *http.Request) { i.Terminate() })
	mux.HandleFunc("POST /reclaim", func(http.ResponseWriter, *http.Request) { i.Reclaim() })
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, _ *http.Request) {
		s := state{Instance: i.ID(), State: i.State(), Protected: i.Protected(), TaskProtected: task.Protected()}
		answer, expired := i.Answered()
		s.Answer, s.TimedOut = string(answer), expired
		for _, c := range i.Calls() {
			s.Calls = append(s.Calls, call{Time: c.Time.UTC().Format(time.RFC3339), Answer: string(c.Answer), Taken: c.Err == nil})
		}
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		_ = enc.Encode(s) // the client may have closed the connection
	})
	return mux
}

type state struct {
	Instance string `json:"instance"`
	State    string `json:"state"`
	// Answer completed the hook. TimedOut: a timeout completed it.
	Answer        string `json:"answer,omitempty"`
	TimedOut      bool   `json:"timed_out,omitempty"`
	Protected     bool   `json:"protected_from_scale_in"`
	TaskProtected bool   `json:"task_protected_from_scale_in"`
	Calls         []call `json:"calls"`
}

type call struct {
	Time   string `json:"time"`
	Answer string `json:"answer"`
	Taken  bool   `json:"taken"`
}

// version returns the versions of this program's module, with the commit if the build recorded it, and of Go.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown version"
	}
	return info.Main.Version + " " + info.GoVersion
}
