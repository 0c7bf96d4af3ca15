//go:build linux

package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is a tab of Chromium that notes what the console complains about.
type browser struct {
	t   *testing.T
	ctx context.Context
	axe string // the source of axe-core

	mu       sync.Mutex
	problems []string
}

// missing skips the test on a machine without one of its parts. CI has them all.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s: CI must install it", what)
	}
	t.Skip(what)
}

func openBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		missing(t, "chromium is not installed: apt-get install chromium")
	}
	modules := os.Getenv("PENSTOCK_NODE_MODULES")
	if modules == "" {
		cache, _ := os.UserCacheDir()
		modules = filepath.Join(cache, "penstock", "node_modules")
	}
	axe, err := os.ReadFile(filepath.Join(modules, "axe-core", "axe.min.js"))
	if err != nil {
		missing(t, err.Error()+": npm install --prefix "+filepath.Dir(modules)+" axe-core")
	}
	alloc, cancel := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("hide-scrollbars", true))...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx, axe: string(axe)}
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil { // the browser lives as long as this context
		t.Fatal(err)
	}
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatal(err)
	}
	return b
}

// listen notes what goes wrong on the page.
func (b *browser) listen(ev any) {
	note := func(format string, a ...any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.problems = append(b.problems, fmt.Sprintf(format, a...))
	}
	switch ev := ev.(type) {
	case *runtime.EventExceptionThrown:
		note("exception: %+v", ev.ExceptionDetails)
	case *runtime.EventConsoleAPICalled:
		note("console.%s: %+v", ev.Type, ev.Args)
	case *log.EventEntryAdded:
		note("%s: %s %s", ev.Entry.Level, ev.Entry.Text, ev.Entry.URL)
	}
}

// quiet fails if anything went wrong.
func (b *browser) quiet(situation string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.problems {
		b.t.Errorf("%s: %s", situation, p)
	}
	b.problems = nil
}

func (b *browser) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
}

// get runs an action that has a result.
func get[T any](b *browser, what string, a chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
	return v
}

// patience is how long one step may take on a busy machine.
const patience = 60 * time.Second

// eval evaluates an expression in the page, which may be a promise.
func eval[T any](b *browser, js string) T {
	b.t.Helper()
	return get(b, head(js), chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
}

func head(s string) string { return s[:min(len(s), 100)] }

// until waits until an expression is true.
func (b *browser) until(what, js string) {
	b.t.Helper()
	b.do(what, chromedp.Poll[chromedp.Void](js, chromedp.WithPollingInterval(100*time.Millisecond), chromedp.WithPollingTimeout(patience)))
}

// view is a way to look at the page.
type view struct {
	name          string
	dark          bool
	width, height int64
}

var views = []view{{"light", false, 1440, 1000}, {"dark", true, 1440, 1000}, {"phone", false, 390, 844}, {"phone-dark", true, 390, 844}}

// look loads the page in every view: the console stays silent, axe-core finds nothing, nothing sticks out at the side, and
// everything that is wanted is there to read.
func (b *browser) look(url, situation string, want ...string) {
	b.t.Helper()
	b.fresh(url, situation, want)
	for _, v := range views {
		name, theme := situation+"-"+v.name, "light"
		if v.dark {
			theme = "dark"
		}
		b.emulate(v, theme)
		b.do(name, chromedp.Navigate(url), chromedp.WaitReady("#main"))
		text := eval[string](b, `document.body.innerText`)
		for _, w := range want {
			if !strings.Contains(text, w) {
				b.t.Errorf("%s: the page does not show %q", name, w)
			}
		}
		// On a phone the window itself grows if an element is too wide.
		if over := eval[int64](b, `document.documentElement.scrollWidth`) - v.width; over > 0 {
			b.t.Errorf("%s: %d pixels stick out at the side: %s", name, over, eval[string](b, sticksOut))
		}
		b.accessible(name)
		b.shoot(name)
	}
	b.quiet(situation)
}

// sticksOut is the first element that is wider than the window.
const sticksOut = `[...document.querySelectorAll("main *")].filter(e => e.getBoundingClientRect().right > screen.width && !e.closest(".scroll"))
	.map(e => e.outerHTML.slice(0, 120))[0] || "?"`

// fresh loads the page until it shows everything in want: the server may serve a cached page for up to a second. If something
// is still missing, look reports it.
func (b *browser) fresh(url, situation string, want []string) {
	b.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); time.Since(begin) < patience; <-tick.C {
		b.do(situation, chromedp.Navigate(url), chromedp.WaitReady("#main"))
		text := eval[string](b, `document.body.innerText`)
		if !slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(text, w) }) {
			return
		}
	}
}

// emulate sets the size of the window and the theme.
func (b *browser) emulate(v view, theme string) {
	b.t.Helper()
	_, err1 := chromedp.Call(b.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: v.width, Height: v.height, DeviceScaleFactor: 1, Mobile: v.width < 700,
	})
	_, err2 := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}},
	})
	if err := errors.Join(err1, err2); err != nil {
		b.t.Fatal(err)
	}
}

// accessible lets axe-core judge the page.
func (b *browser) accessible(name string) {
	b.t.Helper()
	b.do("axe-core", chromedp.Evaluate[chromedp.Void](b.axe+"; null"))
	found := eval[string](b, `axe.run(document).then(r => JSON.stringify(r.violations.map(v =>
		({id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.map(n => n.html.slice(0, 200))}))))`)
	var violations []struct {
		ID, Impact, Help string
		Nodes            []string
	}
	if err := json.Unmarshal([]byte(found), &violations); err != nil {
		b.t.Fatal(err)
	}
	for _, v := range violations {
		b.t.Errorf("%s: axe: %s (%s): %s\n%s", name, v.ID, v.Impact, v.Help, strings.Join(v.Nodes, "\n"))
	}
}

// shoot writes a screenshot if somebody wants to look at it.
func (b *browser) shoot(name string) {
	b.t.Helper()
	dir := os.Getenv("PENSTOCK_SHOTS")
	if dir == "" {
		return
	}
	png := get(b, "screenshot", chromedp.FullScreenshot(100))
	err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644))
	if err != nil {
		b.t.Fatal(err)
	}
}
