// Package foreign calls code written by an embedder: a Destination, an Encoder, a Signer, a Lifecycle, a Step, an Input.
//
//   - A panic in that code becomes a [*PanicError] with the stack. The caller counts and logs it, and treats it as a failed
//     attempt.
//   - A [Teller] calls hooks, whose results nobody waits for.
//   - [Call] also abandons code that does not return after its context has ended. The goroutine of an abandoned call lives
//     until that code returns; its result is then dropped.
//
// A caller must not hold a lock during such a call. Code that is not foreign is never called through this package: a panic in
// it ends the process, because its state is unknown afterwards.
package foreign
