package main

import (
	"fmt"
	"net"
	"os"
	"time"
)

// notifySystemd sends a state of sd_notify(3), and waits a second at most for systemd. Without systemd it does nothing.
func notifySystemd(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	c, err := net.Dial("unixgram", path)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	_, err = fmt.Fprint(c, state)
	return err
}

// mainPID tells systemd which process is the service now: otherwise systemd would stop the successor when this process exits.
func mainPID(pid int) error { return notifySystemd(fmt.Sprintf("MAINPID=%d", pid)) }

// reloading tells systemd that a reload begins, as a unit with Type=notify-reload requires: systemctl reload then waits for ready.
func reloading() error {
	usec, ok := monotonic()
	if !ok {
		return nil // there is no systemd
	}
	return notifySystemd(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", usec))
}

// reloaded tells systemd that a reload has ended.
func reloaded() error { return notifySystemd("READY=1") }
