package ship

// maxSequence is the largest integer that every JSON reader keeps exact. A spool that keeps a million records a second
// reaches it after 285 years.
const maxSequence = 1 << 53
