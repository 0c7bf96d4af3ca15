package kube_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/penstock-go/penstock/drain/kube"
)

// The container's preStop hook is an exec of the service's own binary, which tells the running process that its pod is being
// deleted. A program passes the Lifecycle to its Drainer (drain.Options.Lifecycles), which calls Notice each second.
func ExampleNew() {
	ctx := context.Background()
	l := kube.New(nil)
	mux := http.NewServeMux()
	mux.Handle("/prestop", l)
	server := httptest.NewServer(mux)
	defer server.Close()

	// In the process that the hook starts: kube.PreStopURL(addr), for the address that the service listens on.
	url, err := kube.PreStopURL(server.Listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	if err := kube.PreStop(ctx, url); err != nil {
		log.Fatal(err)
	}

	_, goes, err := l.Notice(ctx)
	fmt.Println("the pod goes:", goes, err)
	// Output: the pod goes: true <nil>
}
