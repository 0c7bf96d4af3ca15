package sftpc

import "sync/atomic"

// Exchange is what one operation sends and awaits. Only one goroutine may use it. It counts the cost of the operation:
// requests, and round trips, i.e. how often a request could be sent only after an earlier answer had arrived.
type Exchange struct {
	c        *Client
	onAnswer func()
	requests int
	trips    int
	answered atomic.Bool
}

// Exchange begins an Exchange. The reader calls onAnswer, if not nil, for each of its answers.
func (c *Client) Exchange(onAnswer func()) *Exchange { return &Exchange{c: c, onAnswer: onAnswer} }

// Has reports whether the server offers this version of an extension.
func (x *Exchange) Has(name, version string) bool { return x.c.Has(name, version) }

// Requests returns how many requests were sent.
func (x *Exchange) Requests() int { return x.requests }

// Trips returns how many round trips were awaited one after the other.
func (x *Exchange) Trips() int { return x.trips }

// Answered reports whether any answer has arrived.
func (x *Exchange) Answered() bool { return x.answered.Load() }

func (x *Exchange) heard() {
	x.answered.Store(true)
	if x.onAnswer != nil {
		x.onAnswer()
	}
}

// Pending is an answer that may not have arrived yet. A request is carried out even if nobody awaits its answer.
type Pending[T any] struct {
	a      *answer
	decode func(*answer) (T, error)
}

// Wait waits for the answer and returns it.
func (p *Pending[T]) Wait() (T, error) {
	<-p.a.done
	if x := p.a.exchange; p.a.round > x.trips {
		x.trips = p.a.round
	}
	if p.a.err != nil {
		var none T
		return none, p.a.err
	}
	return p.decode(p.a)
}

// Flow is Wait for the parts of a file, of which enough are in flight to keep the line busy. It counts no round trip, because
// the line was not idle meanwhile.
func (p *Pending[T]) Flow() (T, error) {
	trips := p.a.exchange.trips
	v, err := p.Wait()
	p.a.exchange.trips = trips
	return v, err
}

// Err waits and returns only the error. A nil Pending stands for no request, and has no error.
func (p *Pending[T]) Err() error {
	if p == nil {
		return nil
	}
	_, err := p.Wait()
	return err
}

// ask sends a request. The answer is of the given kind, or a status.
func ask[T any](x *Exchange, p packet, data, dst []byte, kind byte, decode func(*fields, *answer) T) *Pending[T] {
	a := &answer{exchange: x, round: x.trips + 1, dst: dst, done: make(chan struct{})}
	x.requests++
	x.c.send(a, p, data)
	return &Pending[T]{a, func(a *answer) (v T, err error) {
		f := &fields{b: a.body}
		if a.kind == fxpStatus {
			code := f.uint32()
			message := f.string() // some old servers omit it
			if code == 0 && kind == fxpStatus {
				return v, nil
			}
			return v, &StatusError{Code: code, Message: message}
		}
		if a.kind != kind {
			return v, errFormat
		}
		if v = decode(f, a); f.bad {
			return v, errFormat
		}
		return v, nil
	}}
}

// Void is the result of requests that have none.
type Void = struct{}

func (x *Exchange) do(p packet, data []byte) *Pending[Void] {
	return ask(x, p, data, nil, fxpStatus, func(*fields, *answer) (v Void) { return v })
}
