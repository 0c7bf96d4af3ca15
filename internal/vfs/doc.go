// Package vfs is the file system that the spool runs on: the operating system's ([OS]), or one in memory ([Mem]) that can be
// cloned as after a power cut. [Inject] makes any operation of either fail.
//
// The interface has only the operations that the spool needs, so that a sweep can cut the power before, and fail, every single
// operation that changes something. Code that writes a small file as a whole uses [WriteFileAtomic] and nothing else.
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
// Run a workload on Inject(mem, hook) with a hook that calls [Mem.CrashClone] before each operation that changes
// something, open the package under test on every clone, and check its promises. Then run it once for every operation with
// [FailAt] and [FailFrom]. The order of operations is the workload's own, so a failure is found again by its number.
package vfs
