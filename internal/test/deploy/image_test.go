package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestImage: the image is built from scratch and runs as a user without privileges.
func TestImage(t *testing.T) {
	prove(t, []invariant{{"the image has nothing but the programs, and no root", func(w *world) error {
		for _, line := range []string{"FROM scratch", "USER 65532:65532", `ENTRYPOINT ["/collector"]`} {
			if !strings.Contains(w.Tree["image/Containerfile"], "\n"+line+"\n") {
				return fmt.Errorf("no %s", line)
			}
		}
		return nil
	}, []mutation{
		{"image/Containerfile", "FROM scratch", "FROM alpine"},
		{"image/Containerfile", "USER 65532:65532", "USER root"},
	}}})
	need(t, "buildah")
	dir := t.TempDir()
	for _, program := range []string{"collector", "audit"} {
		cmd := exec.Command("go", "build", "-C", "../../..", "-trimpath", "-ldflags=-s", "-o", filepath.Join(dir, program), "./examples/"+program)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "ca-certificates.crt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	buildah := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("buildah", append([]string{"--storage-driver", "vfs", "--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run")}, args...)...)
		cmd.Env = append(os.Environ(), "BUILDAH_ISOLATION=chroot")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("buildah %v: %v: %s", args, err, out)
		}
		return string(out)
	}
	file, err := filepath.Abs("../../../examples/deploy/image/Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	buildah("build", "--quiet", "-f", file, "-t", "penstock", dir)
	container := strings.TrimSpace(buildah("from", "--pull-never", "penstock"))
	if out := buildah("run", container, "--", "/collector", "-version"); !strings.HasPrefix(out, "collector ") {
		t.Errorf("the collector says %q", out)
	}
	if user := strings.TrimSpace(buildah("inspect", "--format", "{{.OCIv1.Config.User}}", container)); user != "65532:65532" {
		t.Errorf("it runs as %q", user)
	}
}
