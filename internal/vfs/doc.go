// Package vfs is the file system the spool runs on: the operating system's ([OS]), or one in memory ([Mem]) that clones
// itself as after a power cut. [Inject] makes any operation of either fail.
//
// The interface has only what the spool needs, so that a sweep can cut the power before, and break, every single
// operation that changes something. Whoever writes a small file as a whole uses [WriteFileAtomic] and nothing else.
package vfs
