package statefile

import (
	"errors"
	"io/fs"
	"syscall"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
)

// TestLoad goes through the table of answers.
func TestLoad(t *testing.T) {
	type state struct {
		Version int    `json:"version"`
		Name    string `json:"name"`
	}
	seal := func(v any) []byte {
		b, err := Seal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := seal(state{2, "x"})
	flipped := append([]byte(nil), good...)
	flipped[len(flipped)/3] ^= 1
	refuse := func(errno error) vfs.Hook {
		return func(op vfs.Op) error {
			if op.Kind == vfs.OpOpen {
				return errno
			}
			return nil
		}
	}
	for _, c := range []struct {
		what string
		file []byte // nil: absent
		hook vfs.Hook
		want Answer
		err  error
	}{
		{"good", good, nil, Loaded, nil},
		{"older", seal(state{1, "x"}), nil, Loaded, nil},
		{"no version", seal(struct {
			Name string `json:"name"`
		}{"x"}), nil, Loaded, nil},
		{"absent", nil, nil, Absent, fs.ErrNotExist},
		{"a flipped bit", flipped, nil, Damaged, ErrSeal},
		{"empty", []byte{}, nil, Damaged, ErrSeal},
		{"too long", append(make([]byte, 1<<10), good...), nil, Damaged, vfs.ErrTooLarge},
		{"newer, of another shape", seal(struct {
			Version int   `json:"version"`
			Name    []int `json:"name"`
		}{3, []int{1}}), nil, Refused, ErrNewer},
		{"no right", good, refuse(fs.ErrPermission), Refused, fs.ErrPermission},
		{"no descriptors", good, refuse(syscall.EMFILE), Refused, syscall.EMFILE},
		{"the disk refuses", good, refuse(syscall.EIO), Damaged, syscall.EIO},
	} {
		mem := vfs.NewMem()
		if err := mem.MkdirAll("/d"); err != nil {
			t.Fatal(err)
		}
		if c.file != nil {
			if err := vfs.WriteFileAtomic(mem, "/d/f", c.file); err != nil {
				t.Fatal(err)
			}
		}
		var fsys vfs.FS = mem
		if c.hook != nil {
			fsys = vfs.Inject(mem, c.hook)
		}
		var got state
		err := Load(fsys, "/d/f", 1<<10, 2, &got)
		if AnswerTo(err) != c.want || !errors.Is(err, c.err) || err == nil && got.Name != "x" {
			t.Errorf("%s: %+v, %v, answer %d; want answer %d", c.what, got, err, AnswerTo(err), c.want)
		}
	}
}
