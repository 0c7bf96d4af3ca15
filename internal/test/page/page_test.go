//go:build linux

package page

import (
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestPage looks at the page of a real collector in the four situations that an operator meets.
func TestPage(t *testing.T) {
	b := openBrowser(t)
	c := startCollector(t)
	c.command(0, "all well", "ready")

	// It runs, and has lost some records.
	c.send(5000, 100)
	c.lose()
	lost := []string{"truncated", "frame_too_long", "malformed", "reset", "kernel_overflow"}
	c.await("everything that was lost is counted", func(s map[string]any) bool {
		all := map[string]any{}
		for _, name := range []string{"vpn", "web", "feed"} {
			for cause, l := range class(s, name)["balance"].(map[string]any)["lost"].(map[string]any) {
				all[cause] = l
			}
		}
		for _, cause := range lost {
			if all[cause] == nil {
				return false
			}
		}
		return true
	})
	b.look(c.page, "runs", append(lost, "vpn", "web", "idc", "archive", "Raise rcvbuf=")...)
	c.command(4, append(lost, "vpn", "idc")...)
	refreshes(t, b, c)
	keyboard(t, b)

	// It loses a destination.
	found := c.lost("archive")
	c.send(5000, 100)
	c.await("the destination fails", func(s map[string]any) bool { return destination(s, "web", "archive")["state"] != "ok" })
	b.look(c.page, "destination", "retrying", "not a directory", "Create or mount the directory", "records wait on this host's disk")

	c.command(4, "retrying", "Create or mount the directory")

	// It fills its disk.
	stopWeb, stopVPN := c.fill("web", "tcp", c.tcp), c.fill("vpn", "udp", c.udp)
	b.look(c.page, "full", "spool_full", "the spool is full", "full now", "Get the destinations to take the backlog")

	c.command(4, "spool_full", "full now")
	stopWeb()
	stopVPN()
	found()
	c.await("the spools have room again", func(s map[string]any) bool {
		// The data still in its connection would fill web again as soon as a destination is lost.
		return class(s, "web")["spool"].(map[string]any)["full"] == false && class(s, "vpn")["spool"].(map[string]any)["full"] == false &&
			connections(s, "web") == 0
	})

	// It drains: first in vain, until a destination is back.
	found = c.lost("idc")
	c.send(100, 100)
	c.signal(syscall.SIGTERM)
	c.await("the drain ships", func(s map[string]any) bool { return s["drain"].(map[string]any)["phase"] == "ship" })
	b.look(c.page, "drain", "announce", "ship", "verify", "Time left", "signal terminated")
	c.command(4, "drain: ship")
	b.do("leave", chromedp.Navigate("about:blank"))
	found()
	select {
	case err := <-c.exited:
		if err != nil {
			t.Errorf("the collector ended with %v", err)
		}
	case <-time.After(60 * time.Second):
		t.Error("the drain does not end")
	}
	b.quiet("after the end")
	lookAtAudit(t, b, c)
}

// refreshes: the page updates its numbers by itself, until it is paused.
func refreshes(t *testing.T, b *browser, c *collector) {
	t.Helper()
	b.do("mark", chromedp.Evaluate[chromedp.Void](`window.mark = document.getElementById("clock").textContent; window.was = document.getElementById("main"); null`))
	c.send(10, 100)
	b.until("the page refreshes itself", `document.getElementById("clock").textContent !== window.mark && document.getElementById("main") !== window.was`)
}

// keyboard: everything can be reached and used with the keyboard, and a refresh leaves the focus where it is.
func keyboard(t *testing.T, b *browser) {
	t.Helper()
	b.do("reload", chromedp.Reload(), chromedp.WaitVisible("#pause"))
	focus := func() string {
		return eval[string](b, `document.activeElement.id || document.activeElement.textContent.trim()`)
	}
	b.do("tab", chromedp.KeyEvent(kb.Tab))
	if got := focus(); got != "Skip to the classes" {
		t.Errorf("the first stop of Tab is %q", got)
	}
	b.do("tab", chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
	if pressed := eval[string](b, `document.getElementById("pause").getAttribute("aria-pressed")`); pressed != "true" {
		t.Errorf("Enter on %q does not pause", focus())
	}
	b.do("enter", chromedp.KeyEvent(kb.Enter))
	b.do("focus", chromedp.Evaluate[chromedp.Void](`document.querySelector("#class-web-balance summary").focus(); window.was = document.getElementById("main"); null`))
	open := eval[bool](b, `document.getElementById("class-web-balance").open`)
	b.do("enter", chromedp.KeyEvent(kb.Enter))
	b.until("the page refreshes itself", `document.getElementById("main") !== window.was`)
	if got := eval[bool](b, `document.getElementById("class-web-balance").open`); got == open {
		t.Error("a refresh closes or opens details")
	}
	if !eval[bool](b, `document.activeElement === document.querySelector("#class-web-balance summary")`) {
		t.Errorf("a refresh moves the focus to %q", focus())
	}
}
