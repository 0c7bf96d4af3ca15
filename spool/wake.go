package spool

// wake leaves a token for a goroutine that looks for work.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
