// Package fatal ends the process if a goroutine panics while it changes the state of a spool.
//
// Otherwise code above the spool that recovers, as net/http does for its handlers, would continue with a spool whose state is
// unknown. Kept records are on the disk, as after a kill.
package fatal

import (
	"fmt"
	"runtime/debug"
	"sync"
)

// Mutex is a sync.Mutex for such state. `defer mu.Unlock()` ends the process if its goroutine panics.
type Mutex struct{ mu sync.Mutex }

// Lock locks the Mutex.
func (m *Mutex) Lock() { m.mu.Lock() }

// Unlock unlocks the Mutex. It must be deferred itself, not called by a deferred function: only then can it see a panic.
func (m *Mutex) Unlock() {
	Check(recover())
	m.mu.Unlock()
}

// Calls counts calls in progress that change such state. `defer calls.Done()` ends the process like Mutex.Unlock.
type Calls struct{ wg sync.WaitGroup }

// Add counts a call that begins.
func (c *Calls) Add() { c.wg.Add(1) }

// Wait returns when no call is in progress.
func (c *Calls) Wait() { c.wg.Wait() }

// Done counts a call that ends. It must be deferred itself, like Mutex.Unlock.
func (c *Calls) Done() {
	Check(recover())
	c.wg.Done()
}

// Check ends the process if p, the result of recover in a deferred function, is a panic. It raises the panic again in a
// new goroutine, where no caller can recover it.
func Check(p any) {
	if p == nil {
		return
	}
	why := fmt.Sprintf("panic while the state of a spool was being changed; the process ends, since that state is unknown: %v\n\n%s", p, debug.Stack())
	go func() { panic(why) }()
	select {}
}
