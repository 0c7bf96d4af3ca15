package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/foreign"
	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestNoDirectory: "" is not taken for the current directory.
func TestNoDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	_, open := Open("", nil)
	_, adopt := Adopt("", &AdoptOptions{Work: t.TempDir()})
	_, inspect := Inspect("")
	for call, err := range map[string]error{
		"Open": open, "Adopt": adopt, "Inspect": inspect, "GiveUp": GiveUp("", 1, []segment.Range{{First: 1, Last: 1}}),
	} {
		if !errors.Is(err, ErrOptions) || !strings.Contains(fmt.Sprint(err), call+" needs a directory") {
			t.Errorf("%s: %v", call, err)
		}
	}
	if left, _ := os.ReadDir("."); len(left) != 0 {
		t.Errorf("left in the current directory: %v", left)
	}
}

// TestSmallestQuota: a quota without room for any record is refused, with an error that names it, and the smallest accepted quota has
// room for the largest batch that it permits.
func TestSmallestQuota(t *testing.T) {
	least := int64(0)
	for q := int64(900 << 10); least == 0; q += 4 << 10 {
		s, err := Open(t.TempDir(), &Options{SegmentBytes: minSegmentBytes, MaxBytes: q, StageWorkers: 1})
		if err != nil {
			if !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), "is too small") {
				t.Fatal(err)
			}
			continue
		}
		least = q
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for i := range 2 {
			if _, err := s.Append(ctx, batch(i, 1, minSegmentBytes-4<<10)); err != nil {
				t.Errorf("a quota of %d bytes: record %d: %v; %d are used", q, i+1, err, s.Stats().Used)
			}
		}
		closeSpool(t, s)
	}
	t.Logf("the smallest quota is %d", least)
}

// TestNilContext: it is refused at the call, and not by a panic once the call has to wait.
func TestNilContext(t *testing.T) {
	s := memDir().open(t, Options{})
	mustAppend(t, s, batch(1, 1, 10))
	mustSeal(t, s)
	b, in, shelf := batch(2, 1, 10), s.Intake(), s.Shelf()
	var none context.Context
	for call, f := range map[string]func() error{
		"Append":             func() error { _, err := s.Append(none, b); return err },
		"Offer":              func() error { _, err := s.Offer(none, b); return err },
		"WaitDurable":        func() error { return s.WaitDurable(none, 1) },
		"Seal":               func() error { return s.Seal(none) },
		"Intake.Append":      func() error { _, err := in.Append(none, b); return err },
		"Intake.Offer":       func() error { _, err := in.Offer(none, b); return err },
		"Intake.WaitDurable": func() error { return in.WaitDurable(none, 1) },
		"Stage":              func() error { _, err := shelf.Stage(none, 1, lineEncoder{}); return err },
		"StageRest":          func() error { _, _, _, err := shelf.StageRest(none, 1, 1, lineEncoder{}, nil); return err },
		"Restore":            func() error { return shelf.Restore(none, 1, strings.NewReader("")) },
	} {
		if err := f(); !errors.Is(err, wait.ErrNilContext) {
			t.Errorf("%s: %v", call, err)
		}
	}
	if st := s.Stats(); st.Appended != 1 {
		t.Errorf("%d records were taken", st.Appended)
	}
}

// badEncoder is an embedder's that misbehaves until good is set.
type badEncoder struct {
	lineEncoder
	good   bool
	behave func(ctx context.Context, dst io.Writer)
}

func (e *badEncoder) Encode(ctx context.Context, dst io.Writer, src *segment.Reader, want *object.Encoding) (object.Encoded, error) {
	if !e.good {
		e.behave(ctx, dst)
	}
	return e.lineEncoder.Encode(ctx, dst, src, want)
}

// TestEncoderPanics: a panic only makes the attempt fail; it is counted, and logged with its stack.
func TestEncoderPanics(t *testing.T) {
	s := memDir().open(t, Options{})
	mustAppend(t, s, batch(1, 10, 100))
	mustSeal(t, s)
	used := s.Stats().Used
	enc := &badEncoder{behave: func(_ context.Context, dst io.Writer) { _, _ = dst.Write(make([]byte, 1<<20)); panic("boom") }}
	_, err := s.Shelf().Stage(t.Context(), 1, enc)
	if p, ok := errors.AsType[*foreign.PanicError](err); !ok || !strings.Contains(string(p.Stack), "badEncoder") {
		t.Errorf("%v", err)
	}
	if st := s.Stats(); st.Panics != 1 || st.Used != used {
		t.Errorf("%d panics counted, %d bytes used, %d before", st.Panics, st.Used, used)
	}
	enc.good = true
	if rec, err := s.Shelf().Stage(t.Context(), 1, enc); err != nil || rec.Records != 10 {
		t.Errorf("the next attempt: %+v, %v", rec, err)
	}
	for _, enc := range []Encoder{nil, (*badEncoder)(nil)} {
		if _, err := s.Shelf().Stage(t.Context(), 1, enc); err == nil || !strings.Contains(err.Error(), "needs an Encoder") {
			t.Errorf("%T: %v", enc, err)
		}
	}
}

// TestEncoderIgnoresContext: Close does not wait for it, and what it writes later reaches no file.
func TestEncoderIgnoresContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memDir().open(t, Options{})
		mustAppend(t, s, batch(1, 10, 100))
		mustSeal(t, s)
		hung, release, late := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		enc := &badEncoder{behave: func(_ context.Context, dst io.Writer) {
			close(hung)
			<-release
			_, err := dst.Write(make([]byte, 1<<20))
			late <- err
		}}
		staged := make(chan error, 1)
		go func() { _, err := s.Shelf().Stage(context.Background(), 1, enc); staged <- err }()
		<-hung
		began := time.Now()
		closeSpool(t, s)
		if took := time.Since(began); took > 2*foreign.Grace {
			t.Errorf("Close took %v", took)
		}
		if err := <-staged; !errors.Is(err, foreign.ErrAbandoned) || !errors.Is(err, ErrClosed) {
			t.Errorf("Stage: %v", err)
		}
		close(release)
		if err := <-late; err == nil {
			t.Error("the abandoned Encoder could still write")
		}
		if err := s.Stats().Err; !errors.Is(err, ErrClosed) {
			t.Errorf("Stats of a closed spool: %v", err)
		}
	})
}

const fatalEnv = childEnv + "_FATAL"

// fatalChild panics while the journal's lock is held, below code that recovers.
func fatalChild() {
	s, err := Open(os.Getenv(fatalEnv), nil)
	if err != nil {
		fmt.Println(err)
		os.Exit(3)
	}
	s.journal.tail.open = true // and has no block that could be: the next record meets a bug
	func() {
		defer func() { fmt.Println("recovered", recover()) }()
		_, err = s.Append(context.Background(), batch(1, 1, 10))
	}()
	_, err = s.Append(context.Background(), batch(1, 1, 10))
	fmt.Println("went on", err)
	os.Exit(0)
}

// TestPanicUnderLock: nobody can recover a panic that leaves the spool's state unknown.
func TestPanicUnderLock(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), fatalEnv+"="+t.TempDir(), childEnv+"=1")
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 2 || !strings.Contains(string(out), "that state is unknown") ||
		strings.Contains(string(out), "recovered") {
		t.Errorf("%v: %s", err, out)
	}
}
