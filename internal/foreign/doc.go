// Package foreign calls code that an embedder has written: a Destination, an Encoder, a Signer, a Lifecycle, a Step, an Input.
//
//   - A panic in that code becomes a [*PanicError] with the stack. The caller counts and logs it, and treats it as a failed
//     attempt.
//   - A [Teller] calls hooks, which nobody waits for.
//   - [Call] also abandons code that does not return although its context has ended. The goroutine of an abandoned call
//     lives until that code returns; its result is then dropped.
//
// A caller must not hold a lock during such a call. Code that is not foreign is never called through this package: a panic
// in it ends the process, since nobody knows what state it has left.
package foreign
