package status

import (
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/ship/shiptest"
)

// TestPage: the page is made, and its policy allows exactly the style and the script that are in it.
func TestPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, func(shiptest.Call) shiptest.Fault { return shiptest.FailBefore(errTest) })
		s.run()
		for range 6 {
			s.append(100, 50)
			time.Sleep(step)
		}
		rec := httptest.NewRecorder()
		s.watch.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
		body := rec.Body.String()
		if rec.Code != 200 {
			t.Fatalf("%d %s", rec.Code, body)
		}
		for _, part := range []struct{ tag, directive string }{{"style", "style-src"}, {"script", "script-src"}} {
			_, rest, _ := strings.Cut(body, "<"+part.tag+">")
			text, _, ok := strings.Cut(rest, "</"+part.tag+">")
			if !ok || !strings.Contains(rec.Header().Get("Content-Security-Policy"), part.directive+" '"+hash(text)+"';") {
				t.Errorf("the policy does not allow the page's own %s", part.tag)
			}
		}
		for _, want := range []string{"edge-1", "vpn", "idc", "retrying", errTest.Error(), "600", "<path class=\"line k0\" d=\"M"} {
			if !strings.Contains(body, want) {
				t.Errorf("the page has no %q", want)
			}
		}
		for _, not := range []string{" style=", " onclick=", "http://", "https://", "ZgotmplZ", "%!"} {
			if text := strings.ReplaceAll(body, "http%3A", ""); strings.Contains(text, not) {
				t.Errorf("the page has %q", not)
			}
		}
		ask := func() string {
			rec := httptest.NewRecorder()
			s.watch.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
			return rec.Body.String()
		}
		if ask() != body {
			t.Error("two requests at the same time make two pages")
		}
		time.Sleep(time.Second)
		if ask() == body {
			t.Error("a request after a second gets the old page")
		}
		s.stop()
	})
}
