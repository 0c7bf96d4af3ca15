package segment

// Reader streams the records of a segment.
type Reader struct{}
