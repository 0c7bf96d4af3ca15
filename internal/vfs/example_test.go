package vfs_test

import (
	"fmt"

	"github.com/penstock-go/penstock/internal/vfs"
)

// A sweep cuts the power before every operation of a workload that changes something, and checks what is left.
func ExampleInject() {
	mem := vfs.NewMem()
	var clones []*vfs.Mem
	fsys := vfs.Inject(mem, func(op vfs.Op) error {
		if op.Kind.Mutates() {
			clones = append(clones, mem.CrashClone(vfs.Crash{Data: vfs.DataTorn, Names: vfs.NamesJournal, Seed: 1}))
		}
		return nil
	})
	for _, text := range []string{"one", "two"} {
		if err := vfs.WriteFileAtomic(fsys, "/f", []byte(text)); err != nil {
			fmt.Println(err)
		}
	}
	states := map[string]bool{}
	for _, c := range append(clones, mem) {
		data, _ := vfs.ReadFile(c, "/f", 10)
		states[string(data)] = true
	}
	fmt.Println(len(clones), "power cuts left", len(states), "states: none, one, two:", states[""] && states["one"] && states["two"])
	// Output: 10 power cuts left 3 states: none, one, two: true
}
