// Package audit checks which records are at the destinations, and whether any is missing, doubled or altered. It looks at
// the destinations only and never asks the sender, whose host may be long gone.
//
// [Run] reads every manifest chain (see package ship for their format) at one or several places, and judges each:
//
//   - numbers, hashes and sequence numbers continue without a hole, also from epoch to epoch;
//   - each object that a chain names is there, with its size, its checksum if the place keeps one, and, with [Options].Deep,
//     exactly the records that its line states;
//   - no object is there that no chain names;
//   - the places (destinations) agree: they have the same segments, hashes, gaps and losses, or, if a segment was staged again with
//     other settings between two deliveries, objects that have the same records;
//   - the heads that each chain left at the other places match the chain.
//
// The [Verdict] on a chain is Complete if it is final and everything above holds; Closed if an operator has stated that its
// spool is permanently gone ([Close]), and everything that the chain covers is right; Owed if nobody has closed it and it
// has no final manifest, or if another place has more records; Damaged if anything that was ever confirmed is missing or
// altered. Every [Finding] names its place, class, spool, sequence numbers and key, and says what to do.
//
// # Copies of a volume
//
// The auditor judges a volume and its copies (spools with related ids, see object.Related) as a group. All of them
// start with one id. At each place one of them continues the chain of that id, not necessarily the same one everywhere; the
// others take new ids.
// Each chain is judged as above. The auditor must then find each segment exactly once at each place, no matter which chain
// of the group names it. An object that two chains of a place name is there once: a sender that calls the place by another
// name begins a related chain. If a line lists only the last records of a segment,
// the first ones must be in other lines of the place. A copy may have uploaded an object before another copy
// continued the chain. Such an object is reported for information (ObjectSuperseded) if chains of the place name all of its
// records. The chains of a group are read side by side.
//
// # What it can prove
//
// The auditor reports damage only after a comparison. It reports a version, codec, format or signature algorithm that it
// does not know as not understood. It still compares the stored bytes, and calls nothing damaged for that reason. If an
// object is ahead of its chain's end, no manifest of that chain names it yet. A deep audit reads such an object. If a
// manifest at another place lists it, the audit compares the object with that manifest's line. The auditor never advises to
// remove or overwrite an object.
//
// Given one place whose last manifest is genuine, the auditor detects every change before it: whoever removes, adds or
// alters anything breaks the chain or a checksum. Only other places can show that the last manifests themselves were cut
// off, or were rewritten together with the objects that they name: other places hold the same lines, and heads of the chain.
// If no head shows the part that was cut off, the chain looks like one that has not come that far: the auditor calls it
// Owed, with the range that the lines of another place show. A forger can write manifests that say that the place joined
// later. The auditor then accepts that the place does not need those records, and lists them in [ChainReport].NotOwed. If an
// object of such records is there, because it was uploaded before the place was given up, the auditor compares it with the line
// about it in another place's chain. It reports one that matches for information (ObjectNotOwed), and one for which no chain
// vouches as owed.
//
// Anyone with write access to all places can forge everything that is not signed. Signed manifests prevent that: let the
// senders sign (ship.Options.Signer) and give their public keys ([Options].Keys), or keep one place under object lock. With
// keys, the auditor detects every change and every addition. The last manifests of a chain can still be removed unnoticed,
// but only at all places at once.
//
// # A running system
//
// You may audit a running system at any time. Chains are read before objects are listed, so an object that is newer than its chain
// is one that the sender is still delivering: the auditor reports it as owed. Before it calls anything missing, the auditor asks for
// it once more by name; before it calls anything damaged, it reads it once more.
//
// If one object or document cannot be read, although its place answers otherwise, that is a finding (Unread): it is owed, because
// it is proven neither right nor wrong, and the audit of everything else goes on. If the place lets nothing be read, [Run] returns
// an error.
//
// # Hours
//
// [Result].Hours judges every hour of every class, or only that of [Options].Hour. An hour is complete if it is over, if at every
// place every chain of the class has passed it or is final, and if no finding concerns it. A finding about an object concerns the
// hour of the object's folder. Damage to a chain concerns the hours between the sound parts before and after it ([Finding].HourFrom,
// HourTo). A finding with neither bound concerns every hour of its class.
//
// # Watching
//
// A [Watcher] audits the same places again and again, and asks only for what may be new. Its documentation says what it notices at
// once, and what only in its full audits. From what it has seen, it reaches the verdict of [Run].
//
// # Memory
//
// The auditor limits the length of every answer of a place: it stops reading at the first byte that should not be there.
// Objects of the Native format are copied to temporary files, of at most 4 GiB together.
//
// Chains are streamed manifest by manifest, those of one spool at all places side by side. Memory holds 48 bytes for each
// object and place, for the comparison with the listing, some 200 bytes for each epoch and head, and the findings, of which
// there are at most [Options].MaxFindings.
//
// # The way through the files
//
// From the outside in. options.go and audit.go are Run and its four phases; place.go makes requests to a place, and
// unread.go tells a key that cannot be read from a place that does not answer. Phase one, catalogue.go, lists the chains.
//
// Phase two judges chains. group.go reads the chains of a spool and its copies side by side. walk.go follows one chain at one place;
// link.go judges a manifest by the previous ones and sign.go its signature; checkpoint.go notes how far it has got. compare.go
// compares the chains of one spool at several places, and restaged.go the objects of a segment that was staged again; match.go, alike.go,
// beginning.go and holdings.go compare those of copies. heads.go checks heads. closing.go judges closings, and close.go writes one. hour.go
// judges hours.
//
// Objects: objects.go notes which objects a chain names and asks for them, and statement.go what a line says about one; deep.go reads
// and counts their records, within the limits of bounds.go and in the formats of encoding.go; found.go compares the records of two
// objects. Phase three, listing.go, compares the listing with the names. Phase four, ahead.go and superseded.go, reads the objects
// that no chain names. repairs.go reads the notes of the repairs that replay.go has made.
//
// watcher.go repeats audits: memory.go is what it remembers of a place, index.go a remembered listing, counted.go counts requests,
// status.go is the Status that it reports, and teller.go logs what is new. marker.go writes markers of complete hours.
//
// result.go has the findings, cures.go the advice for each, and report.go prints them.
package audit
