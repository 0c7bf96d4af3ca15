// Package version says which Penstock a program was built with.
package version

import (
	"runtime/debug"
	"strings"
)

const modulePath = "github.com/penstock-go/penstock"

// String describes the build of this program: the version of the module, the commit where the build knows it
// ("modified" if files differed from it), and the version of Go. Every program in examples prints it for -version.
func String() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown version"
	}
	return versionOf(info)
}

func versionOf(info *debug.BuildInfo) string {
	version := ""
	if info.Main.Path == modulePath {
		version = info.Main.Version
	}
	for _, m := range info.Deps {
		if m.Path == modulePath {
			if version = m.Version; m.Replace != nil {
				version = strings.TrimSpace(m.Replace.Path + " " + m.Replace.Version)
			}
		}
	}
	if version == "" || version == "(devel)" {
		version = "development version"
	}
	if commit := commitOf(info); commit != "" && info.Main.Path == modulePath {
		version += ", commit " + commit
	}
	return version + ", " + info.GoVersion
}

// commitOf returns the commit that the main module was built from.
func commitOf(info *debug.BuildInfo) string {
	set := map[string]string{}
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	commit := set["vcs.revision"]
	if len(commit) > 12 {
		commit = commit[:12]
	}
	if commit == "" {
		return ""
	}
	if t := set["vcs.time"]; t != "" {
		commit += " of " + t
	}
	if set["vcs.modified"] == "true" {
		commit += ", modified"
	}
	return commit
}
