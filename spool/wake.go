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

// retryEvery is the interval at which a failing disk is retried. Each attempt uses a new file: a file that has failed is not used
// again.
const retryEvery = time.Second
