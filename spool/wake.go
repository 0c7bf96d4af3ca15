package spool

import "time"

// wake leaves a token for a goroutine that looks for work.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// never is longer than any wait.
const never = time.Duration(1<<63 - 1)

// retryEvery is how often a failing disk is tried again. Each try is a new file: one that has failed is never believed.
const retryEvery = time.Second
