//go:build unix

package drain_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/penstock-go/penstock/drain"
)

// A service of a unit with Type=notify. Without systemd, Systemd returns nil, which Lifecycles may contain, so the same program also
// runs in a shell.
func ExampleSystemd() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		log.Fatal(err)
	}
	defer systemd.Close()
	os.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "notify")) // as systemd does
	defer os.Unsetenv("NOTIFY_SOCKET")

	d, err := drain.New(&drain.Options{Dir: dir, Lifecycles: []drain.Lifecycle{drain.Systemd(nil)}})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background()) // in a program: Run, which a signal ends
	defer stop()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.RunWith(ctx, nil)
	}()

	for buf := make([]byte, 4096); ; {
		n, err := systemd.Read(buf)
		if err != nil {
			log.Fatal(err)
		}
		said := string(buf[:n])
		for _, state := range []string{"READY=1", "STOPPING=1", "EXTEND_TIMEOUT_USEC=60000000", "STATUS=stop: delivered"} {
			if strings.Contains(said, state) {
				fmt.Println(state)
			}
		}
		if strings.Contains(said, "READY=1") {
			stop()
		}
		if strings.Contains(said, "STATUS=stop: delivered") {
			break
		}
	}
	<-ended
	// Output:
	// READY=1
	// STOPPING=1
	// EXTEND_TIMEOUT_USEC=60000000
	// STATUS=stop: delivered
}
