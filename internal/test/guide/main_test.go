package guide

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// programs are those that pages call.
var programs = []string{"audit", "collector", "loadgen", "platform", "spoolctl", "udprelay"}

// bin is their directory.
var bin string

var given = flag.String("guide.programs", "", "use the programs in this `DIR`, and build none: to try a page while it is written")

func TestMain(m *testing.M) {
	flag.Parse()
	made, err := os.MkdirTemp("", "guide-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	bin = cmp.Or(*given, made)
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(made)
		os.Exit(code)
	}))
}

// built builds the programs once.
var built = sync.OnceValue(func() error {
	if *given != "" {
		return nil
	}
	args := []string{"build", "-o", bin + "/"}
	for _, p := range programs {
		args = append(args, "./examples/"+p)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
})

// build builds the programs.
func build(t *testing.T) {
	t.Helper()
	if err := built(); err != nil {
		t.Fatal(err)
	}
}
