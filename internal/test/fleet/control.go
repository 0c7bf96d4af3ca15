//go:build linux

package fleet

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// control measures the machine itself: it appends a record to a file on a volume of its own, and syncs it, every interval until ctx
// ends. What slows this down in a flood is the machine, and not one class that disturbs another.
func (s *Stage) control(ctx context.Context, every time.Duration) (*Probe, func() error, error) {
	v, err := newVolume(s.dev(), "control", 1<<30)
	if err != nil {
		return nil, nil, err
	}
	dir := filepath.Join(stageDir, "control")
	if err := v.Attach(dir); err != nil {
		return nil, nil, err
	}
	f, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		return nil, nil, err
	}
	p, err := newProbe("control", nil, "", 1)
	if err != nil {
		return nil, nil, err
	}
	ended := make(chan error, 1)
	go func() {
		err := standBack()
		if err == nil {
			err = p.write(ctx, f, every)
		}
		ended <- errors.Join(err, f.Close())
	}()
	return p, func() error { return <-ended }, nil
}

// standBack gives the goroutine a thread with the priority of a server. The thread ends with the goroutine.
func standBack() error {
	runtime.LockOSThread()
	own, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		return err
	}
	return unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 20-own+serverNice) // the system call returns 20 - nice: getpriority(2)
}

// write appends and syncs records until ctx ends.
func (p *Probe) write(ctx context.Context, f *os.File, every time.Duration) error {
	t := time.NewTicker(every)
	defer t.Stop()
	line := p.gen.Append(nil, 0, 0, lineSize)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		begin := time.Now()
		if _, err := f.Write(line); err != nil {
			return err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return err
		}
		p.mu.Lock()
		p.times = append(p.times, probed{begin, time.Since(begin)})
		p.mu.Unlock()
	}
}
