// Package vfs is the file system on which the spool runs: that of the operating system ([OS]), or one in memory ([Mem]) that
// can be cloned in its state after a power cut. [Inject] makes any operation of either fail.
//
// The interface has only the operations that the spool needs. So a sweep can test each operation that changes something: with a
// power cut before it, and with a failure of it. Code that replaces a small file as a whole must use [WriteFileAtomic].
//
// # What survives
//
//	                                   death of the process    power cut
//	written                            yes                     perhaps, in parts, in any order
//	written, Sync returned nil         yes                     yes, if the name does
//	Sync failed                        yes, until evicted      only what is written again and then synced
//	created, renamed, removed          yes                     perhaps
//	the same, SyncDir returned nil     yes                     yes
//	locked                             no                      no
//
// # A sweep
//
// Run a workload on Inject(mem, hook) with a hook that calls [Mem.CrashClone] before each operation that changes something,
// open the package under test on every clone, and check its promises. Then run the workload once for every operation with
// [FailAt] and [FailFrom]. The workload determines the order of operations, so the number of an operation reproduces a failure.
package vfs
