package fatal

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

const childEnv = "PENSTOCK_FATAL_TEST_CHILD"

// children panic in their own way, below code that recovers.
var children = map[string]func(){
	"mutex": func() {
		var m Mutex
		m.Lock()
		defer m.Unlock()
		panic("boom")
	},
	"calls": func() {
		var c Calls
		c.Add()
		defer c.Done()
		panic("boom")
	},
	"check": func() {
		defer func() { Check(recover()) }()
		panic("boom")
	},
}

func TestMain(m *testing.M) {
	if f := children[os.Getenv(childEnv)]; f != nil {
		func() {
			defer func() { fmt.Println("recovered", recover()) }()
			f()
		}()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// TestNobodyRecovers: the process ends with the stack of the panic, whatever recovers above.
func TestNobodyRecovers(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name := range children {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), childEnv+"="+name)
		out, err := cmd.CombinedOutput()
		if err == nil || strings.Contains(string(out), "recovered") || !strings.Contains(string(out), "boom") || !strings.Contains(string(out), "fatal_test.go") {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}

// TestNoPanic: without a panic they behave like sync.Mutex and sync.WaitGroup.
func TestNoPanic(t *testing.T) {
	var m Mutex
	var c Calls
	c.Add()
	go func() {
		defer c.Done()
		m.Lock()
		defer m.Unlock()
	}()
	c.Wait()
	m.Lock()
	defer m.Unlock()
}
