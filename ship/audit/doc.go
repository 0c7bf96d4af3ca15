// Package audit proves, from what lies at the destinations and nothing else, which records are there and that none is
// missing, doubled or altered. The sender is not asked: its host may be long gone.
//
// [Run] reads every manifest chain (see package ship for their format) at one or several places, and judges each:
//
//   - numbers, hashes and sequence numbers run on without a hole, also from epoch to epoch;
//   - each object that a chain names is there, with its size, its checksum where the place keeps one, and, with
//     [Options].Deep, with exactly the records that its line states;
//   - no object is there that no chain names;
//   - the places agree: the same segments, hashes, gaps and losses everywhere;
//   - the heads that each chain left at the other places are those of that chain.
//
// The [Verdict] on a chain is Complete if it is final and everything above holds; Closed if an operator has stated that
// its spool is permanently gone ([Close]), and what its chain covers is right; Owed if its spool was not closed out,
// or another place has more; Damaged if anything that was ever confirmed is missing or altered. Every [Finding] names
// its place, class, spool, sequence numbers and key, and says what to do.
//
// # Copies of a volume
//
// Spools with related ids (see object.Related) are a volume and its copies, and are judged as a group: at each place another one may
// have won the chain of the id that they shared. Each chain is judged as above. Between places, each segment must be found
// exactly once at each place, in whichever chain of the group; where a line states the rest of a segment, its beginning must be in
// other lines of the place. An object that a copy uploaded ahead of a chain which another one continued is reported for
// information (ObjectSuperseded), if its content is that of a line. The chains of a group are read side by side.
//
// # What it can prove
//
// It contradicts what it can compare and no more: a version, codec, format or signature algorithm that this auditor does
// not know is reported as not understood, its stored bytes are compared all the same, and nothing is called damaged for it.
// An object ahead of its chain's end is vouched for by nobody yet; a deep audit reads it, and compares it with another
// place's line about it if there is one. No advice removes or overwrites anything.
//
// Given one place, it vouches for everything up to the last manifest there: nobody can take away, add or alter
// anything below without breaking the chain or a checksum. That the last manifests themselves were cut off, or rewritten
// with all that they name, shows with the other places given too: they hold the same lines, and heads of the chain.
// Where no head tells of what was cut off, the chain looks like one that has not come so far yet: Owed, with the exact
// range; or, if the forger says in the sender's name that the place joined later, like one that is not owed what is missing:
// see [Chain].NotOwed. Who can write to all places alike can forge everything that is not signed: against that, have the
// senders sign (ship.Options.Signer) and give their public keys ([Options].Keys), or keep one place under object lock. With
// keys, nothing can be altered or added anywhere; only the end of a chain can still be cut off, at all places alike.
//
// # A running system
//
// It may be audited at any time. Chains are read before objects are listed, so that objects without a manifest, ahead of
// their chain's end, are what is on its way: reported as owed. Before anything is called missing, it is asked for once
// more by name, and before anything is called damaged, it is read once more.
//
// # Memory
//
// Nothing that a place answers is believed to have an end: a read stops at the first byte that should not be there. Native objects
// are put into temporary files, of at most 4 GiB together.
//
// Chains are streamed manifest by manifest, those of one spool at all places side by side. What stays in memory is 48
// bytes for each object and place, for the comparison with the listing, some 200 bytes for each epoch and head, and the
// findings, of which there are at most [Options].MaxFindings.
package audit
