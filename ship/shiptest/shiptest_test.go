package shiptest

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-go/penstock/ship"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemory(t *testing.T) {
	Run(t, func(*testing.T) ship.Destination { return Memory() })
}

func TestMemoryShared(t *testing.T) {
	m := Memory()
	Run(t, func(*testing.T) ship.Destination { return Faulty(m, nil) })
}

func TestFaulty(t *testing.T) {
	lost := errors.New("lost")
	m := Memory()
	f := Faulty(m, func(c Call) Fault {
		switch {
		case c.Op == Put && c.N == 1:
			return FailBefore(lost)
		case c.Op == Put && c.N == 2:
			return FailAfter(lost)
		}
		return Fault{}
	})
	b := []byte("x")
	o := ship.BytesObject("k", spoolID, b)
	if _, err := f.Put(t.Context(), o, section(b)); err != lost {
		t.Fatal(err)
	}
	if _, err := m.Stat(t.Context(), "k"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal("FailBefore has an effect")
	}
	if _, err := f.Put(t.Context(), o, section(b)); err != lost {
		t.Fatal(err)
	}
	if _, err := m.Stat(t.Context(), "k"); err != nil {
		t.Fatal("FailAfter has no effect")
	}
	if _, err := f.Put(t.Context(), o, section(b)); err != nil || f.Calls(Put) != 3 {
		t.Fatal(err, f.Calls(Put))
	}
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := Faulty(Memory(), func(Call) Fault { return Delay(time.Hour) })
		begin := time.Now()
		if _, err := f.Stat(t.Context(), "k"); !errors.Is(err, fs.ErrNotExist) || time.Since(begin) != time.Hour {
			t.Fatal(err, time.Since(begin))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := f.Stat(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Hour+time.Minute {
			t.Fatal(err, time.Since(begin))
		}
	})
}
