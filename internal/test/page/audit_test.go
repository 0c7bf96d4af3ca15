//go:build linux

package page

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

var watchLine = regexp.MustCompile(`msg="audit: watching".* page=(\S+)`)

// lookAtAudit checks an auditor's page about a collector's deliveries: first complete, then after an object was removed.
func lookAtAudit(t *testing.T, b *browser, c *collector) {
	t.Helper()
	url := startAuditor(t, c)
	b.do("audit", chromedp.Navigate(url))
	b.until("the first audit is done", `document.querySelector(".calendar") !== null`)
	b.look(url, "audit-complete", "Hours of class vpn", "✓ complete", "idc", "archive")
	objects, err := filepath.Glob(filepath.Join(c.dir, "archive", "class=web", "*", "*", "*"))
	if err != nil || len(objects) == 0 {
		t.Fatalf("objects: %v, %v", objects, err)
	}
	if err := os.Remove(objects[0]); err != nil {
		t.Fatal(err)
	}
	b.until("the damage is announced", `document.getElementById("verdict").textContent.includes("damaged")`)
	b.look(url, "audit-damaged", "Needs attention", filepath.Base(objects[0]))
	b.do("leave", chromedp.Navigate("about:blank"))
	b.quiet("audit")
}

// startAuditor returns the URL of its page.
func startAuditor(t *testing.T, c *collector) string {
	t.Helper()
	bin := filepath.Join(c.dir, "audit")
	build := exec.Command("go", "build", "-o", bin, "./examples/audit")
	build.Dir = "../../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(bin, "serve", "-at", "file://"+filepath.Join(c.dir, "idc"), "-at", "file://"+filepath.Join(c.dir, "archive"),
		"-http", "127.0.0.1:0", "-interval", "1s")
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	page := make(chan string, 1)
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if m := watchLine.FindStringSubmatch(lines.Text()); m != nil {
				page <- m[1]
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-read
		if err := cmd.Wait(); err != nil {
			t.Errorf("the auditor ended with %v", err)
		}
	})
	select {
	case url := <-page:
		return url
	case <-time.After(30 * time.Second):
		t.Fatal("the auditor does not start")
	}
	return ""
}
