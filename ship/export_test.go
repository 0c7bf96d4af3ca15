package ship

// Changed lets tests wait for a change of state.
func Changed(s *Shipper) <-chan struct{} { return s.changed.wait() }
