package version

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestString(t *testing.T) {
	own := debug.Module{Path: modulePath, Version: "v0.1.0"}
	for want, info := range map[string]*debug.BuildInfo{
		"v0.1.0, commit 0123456789ab of 2026-11-28T10:00:00Z, modified, go1.26": {
			GoVersion: "go1.26", Main: own, Settings: []debug.BuildSetting{
				{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.time", Value: "2026-11-28T10:00:00Z"}, {Key: "vcs.modified", Value: "true"},
			},
		},
		"development version, go1.26": {GoVersion: "go1.26", Main: debug.Module{Path: modulePath, Version: "(devel)"}},
		// In somebody else's program: the commit is that program's.
		"v0.1.0, go1.26": {
			GoVersion: "go1.26", Main: debug.Module{Path: "example.com/service", Version: "v9.0.0"}, Deps: []*debug.Module{&own},
			Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}},
		},
		"../penstock, go1.26": {
			GoVersion: "go1.26", Main: debug.Module{Path: "example.com/service"},
			Deps: []*debug.Module{{Path: modulePath, Version: "v0.1.0", Replace: &debug.Module{Path: "../penstock"}}},
		},
	} {
		if got := versionOf(info); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := String(); !strings.Contains(got, "go1.") {
		t.Error(got)
	}
}
