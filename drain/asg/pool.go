package asg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
)

// pool distinguishes an instance that returns to a warm pool from one that is first started there. The metadata has the
// same target, such as Warmed:Stopped, for both: only an instance that has been in service returns. A note in Options.Dir
// keeps that across restarts of the process.
type pool struct {
	dir string // "": no note
	log *slog.Logger

	mu       sync.Mutex // held while the file is read or written; heartbeats do not need it
	warned   time.Time
	served   bool // the instance was in service, as this process or an earlier one has seen
	earlier  bool // served, but so far only an earlier process has seen that
	recalled bool // the file was read, or does not exist
	noted    bool // the file records served
}

// note is the content of the file: the instance that was in service. On a copy of the disk it says nothing about another
// instance.
type note struct {
	Instance string    `json:"instance"`
	Served   time.Time `json:"served"`
}

// maxNote bounds how many bytes of the file are read.
const maxNote = 4 << 10

func (p *pool) path() string { return filepath.Join(p.dir, "asg.json") }

// recall reads the note of an earlier process. After an error the next call tries again.
func (p *pool) recall(instance string) error {
	if p.recalled || p.served || p.dir == "" {
		return nil
	}
	b, err := vfs.ReadFile(vfs.OS(), p.path(), maxNote)
	if errors.Is(err, fs.ErrNotExist) {
		p.recalled = true
		return nil
	}
	var n note
	if err == nil {
		err = json.Unmarshal(b, &n)
	}
	if err != nil {
		return fmt.Errorf("asg: whether this instance was in service before: %w", err)
	}
	p.recalled = true
	if n.Instance == instance {
		p.served, p.earlier, p.noted = true, true, true
	}
	return nil
}

// serves notes that the instance is in service.
func (p *pool) serves(instance string) error {
	p.served, p.earlier = true, false
	if p.noted || p.dir == "" {
		return nil
	}
	b, err := json.Marshal(note{instance, time.Now().UTC()})
	if err == nil {
		err = vfs.OS().MkdirAll(p.dir)
	}
	if err == nil {
		err = vfs.WriteFileAtomic(vfs.OS(), p.path(), append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("asg: noting that this instance is in service: %w", err)
	}
	p.noted = true
	return nil
}

// rests notes that the instance has arrived in the pool, by removing the note: it may go into service again.
func (p *pool) rests() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.served, p.earlier, p.noted, p.recalled = false, false, false, true
	if p.dir == "" {
		return nil
	}
	if err := vfs.OS().Remove(p.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("asg: noting that this instance is in the warm pool: %w", err)
	}
	return nil
}

// resting reports whether a state is that of an instance in a warm pool for which no hook waits (Amazon EC2 Auto Scaling
// User Guide, "Use lifecycle hooks with a warm pool").
func resting(state string) bool {
	switch state {
	case "Warmed:Stopped", "Warmed:Hibernated", "Warmed:Running":
		return true
	}
	return false
}

// saw takes note of a target lifecycle state, and returns whether the instance has been in service; earlier means that
// only an earlier process has seen that. The error is why it is not known.
func (p *pool) saw(instance, target string) (served, earlier bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	err = p.recall(instance)
	if target == "InService" {
		if err := p.serves(instance); err != nil && time.Since(p.warned) > time.Minute {
			p.warned = time.Now()
			p.log.Warn("asg: cannot note that this instance is in service; a restarted process will not know it, and takes a return to the warm pool for its first time there: see what the disk reports", "err", err)
		}
	}
	return p.served, p.earlier, err
}

// leaves reports whether an instance with this target is being taken out of service.
func (p *pool) leaves(ctx context.Context, service Service, instance, target string) (bool, error) {
	served, earlier, err := p.saw(instance, target)
	switch {
	case target == "Terminated" || target == "Warmed:Terminated":
		return true, nil
	case !resting(target):
		return false, nil
	case err != nil: // a wrong guess would let the instance return to the pool without a drain
		return false, err
	case !served:
		return false, nil
	case !earlier:
		return true, nil // this process has seen it in service
	}
	// Either the instance is on its way back to the pool, or it has arrived there and is started again. Only the group
	// knows which.
	inst, err := service.Instance(ctx, instance)
	if err != nil {
		return false, fmt.Errorf("asg: whether this instance returns to its warm pool: %w", err)
	}
	if resting(inst.State) {
		return false, p.rests()
	}
	return strings.HasPrefix(inst.State, "Warmed:"), nil
}
