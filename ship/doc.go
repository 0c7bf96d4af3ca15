// Package ship delivers what a spool keeps to every destination, proves that it arrived, and leaves the proof there.
//
// A [Destination] stores objects; s3ship, sftpship and fileship are three, and package shiptest has the suite that any
// other must pass. A [Shipper] takes the sealed segments of a spool to all of them: it has each segment staged (encoded,
// compressed and hashed) once, uploads it to each destination in parallel, compares the destination's own account of
// size and checksum with what was sent, and then writes the next manifest of that destination's chain. Only what a chain
// covers counts as delivered, and only what every chain covers is deleted here.
//
// # Guarantees
//
//   - Destinations are independent. One that is slow, dead, full or misconfigured delays no other, and no start. It is
//     tried again without end, with capped and jittered waits; what only an operator can cure is logged with the cure and
//     probed.
//   - Once, effectively. Key and bytes of an object are fixed before the first attempt, and nothing is ever overwritten:
//     a repeat after a crash or a lost response meets its own object. A stranger's object is a conflict: it stays, the
//     chain stops in front of it, loudly, and everything else goes on.
//   - One writer of each manifest. Its bytes are durable in the spool before they are sent, and are created only if that
//     number is free. If it is not, another owner writes this chain, too: the volume was copied, restored from a snapshot, or
//     adopted. This one follows the chain as long as it states what is here, and delivers everything from the first difference
//     on under an identity of its own.
//   - One adopter. An orphan's chains are taken over (spool.Adopt, [Shipper.Claim]) by creating the next manifest of the old
//     epoch, closed_by, first at the destination whose name comes first: an adopter that finds the number taken gives way, and a
//     later one follows the chain before it claims.
//   - Bounded. At most 2 × [Options].Workers segments (eight small ones count as one) are ahead of a chain, and none is staged that no upload waits for.
//
// # Objects
//
// Package spool/object has the keys of everything that is stored below a destination's prefix, and package ship/format
// the content of objects with records.
//
// An object keeps the spool id that its segment was begun under, even if it is delivered under a later identity of the
// same spool: such ids have their first ten characters in common, see object.Related.
//
// # Manifests, version 3
//
// A manifest is a file of JSON lines, one object a line, each line ended by a newline. From the chain of a destination
// an auditor that sees nothing else can say which records are there, that none is missing in between, doubled or
// altered, how many were lost before they could be kept, and whether more is owed. This one is number 7 (shortened):
//
//	{"type":"header","version":3,"class":"vpn","spool":"4k7q…","epoch":1,"number":7,"prev":"cccc…","prev_last":4000000,"instance":"i-0abc","destination":"idc","time":"2026-11-22T08:02:00.123456789Z"}
//	{"type":"segment","segment":41,"first":4000001,"last":4100000,"records":99990,"bytes":51200000,"gaps":[{"first":4050001,"last":4050010}],"min_time":"…","max_time":"…","key":"class=vpn/dt=2026-11-22/hour=08/4k7q…-000001-00000000003d0901-00000000003e8fa0.ndjson.zst","format":"ndjson","codec":"zstd","level":3,"raw_bytes":59000000,"raw_sha256":"aaaa…","size":9800000,"sha256":"bbbb…","crc64nvme":"0123456789abcdef","receipt":{"size":9800000,"checksum":"sha256:bbbb…","method":"remote-sha256sum","time":"…"}}
//	{"type":"loss","segment":41,"after":4100000,"lost":{"kernel_overflow":{"records":12,"bytes":null}}}
//	{"type":"footer","segments":1,"losses":1,"segment":41,"last":4100000,"sha256":"7ece…"}
//
// The header says whose chain it is and which link. Numbers begin at 0 in each epoch; number 0 is the birth manifest,
// which is sent before any data. "prev" is the SHA-256 of the bytes of the manifest before (in number 0: of the last one
// of the epoch before, or zeros), "prev_last" the last sequence number that one covers. "joined" (left out if 1) is the
// first sequence number this destination is owed, "forgotten" names destinations that were given up. See
// [ManifestHeader].
//
// A segment line says which records an object holds. It is the same at every destination, the receipt apart, which is
// that destination's own confirmation of the object. Sequence numbers run on from line to line and from manifest to
// manifest without a hole; "gaps" are records within that were damaged before they could be staged, so that records =
// last − first + 1 − gaps. A segment of which no record is left has a line without a key. See [SegmentLine].
// "whole":{"first":…,"gaps":…,"raw_sha256":"…"} says that the line states only the rest of a segment, and which: its first
// records are in an object that another owner's chain names, since both held them before their volumes parted (see
// object.Related). At another destination the same segment may be delivered as a whole, and "raw_sha256" is then that of its line
// there. If all of its records are in another owner's object, last = first − 1, and the line has no key. See [Whole].
//
// A loss line follows the segment line of its segment, or stands alone if the segment holds no records: what was lost
// while that segment was active, by cause, in records, and in bytes where they were seen (else null, with the part that
// was seen in "bytes_seen"). "unaccounted" lists times for which that can only be bounded, since the process or the
// machine died: {"from":…,"to":…,"known":{"records":0,"bytes":0},"at_most_bytes":134217728}, known being what was
// received and then gone. See [LossLine].
//
// The footer counts the lines, and says how far the chain reaches: last segment and last sequence number. Its "sha256"
// is that of all lines before it and of its own line with "sha256":"" (version 1 left the latter out, so that a damaged
// footer of the last manifest did not show; the ndjson objects of version 2 had no spool in their lines). "final":true states that this destination holds every record that was ever kept (from
// "joined" on) and every loss count. "passed":"2026-11-22T09:00:00Z" states that no segment which this chain does not
// cover begins before that time: nothing will follow in the folder of an earlier hour. It is written once an hour while
// nothing comes in. The hour of a folder is that in which its segment begins; the spool sees to it that none begins
// before an earlier one, or before such a statement, also when the clock is set back. "closed_by":{"instance":…,"epoch":…,"claim":…} that the chain goes on in a later epoch,
// because another host or an adopter goes on with it. Nothing follows either in that epoch. Behind a final manifest the chain
// goes on, if it does, in the next epoch. See [ManifestFooter].
//
// If the sender has a key ([Options].Signer), a last line signs the footer's, and with its hash everything:
//
//	{"type":"signature","algorithm":"ed25519","key":"<public key, 64 hex digits>","signature":"<128 hex digits>"}
//
// It is over the bytes of the line before it, the newline included (RFC 8032, pure Ed25519). Since each manifest names
// the hash of the one before, a signed manifest vouches for all before it: signing can begin, and keys can change, in the
// middle of a chain. "prev" hashes the signature too. Readers without keys accept every signature, also of algorithms
// that they do not know; readers with keys want the end of each chain signed by one of them. See [Manifest.CheckSignature].
//
// There is one way to write a manifest: the fields in the order shown, no spaces, those that are false, empty or zero
// left out where [Manifest] says omitempty, times in UTC as RFC 3339 with as many decimals as they need. Readers refuse
// anything else, and so nothing can be understood in two ways. Integers stay below 2^53. Whatever is added to the format
// gets a new version; a reader refuses other versions than its own by name ([ErrVersion]), which is not to say that they
// are damaged.
//
// # Heads, version 2
//
// A chain alone cannot show that its last links were cut off. The head of each chain (number, hash, last sequence
// number) therefore goes to the other destinations too, under heads/, at most every ten minutes and with a final
// manifest. Heads are created once and never changed, and nobody waits for them. A head has two lines, or three:
//
//	{"version":2,"class":"vpn","spool":"4k7q…","epoch":1,"destination":"idc","number":7,"hash":"cccc…","last":4100000,"final":true,"time":"…"}
//	{"type":"seal","sha256":"<of the line before, its newline included>"}
//	{"type":"signature",…}
//
// The seal shows damage to a head, which no other file names by its hash. The signature is over the line of the seal. See
// [Head]. Version 1 had no seal.
//
// # Closings, version 1
//
// A spool that is permanently gone (its volume was deleted, or cannot be read any more) leaves a chain without a final
// manifest, which every audit reports as owed. An operator may close it: a closing states who says so, when and why, and
// which manifest of which destination's chain is the last one (epoch, number, hash, last sequence number). It lies beside
// the chain, is created once, and never changes the chain: only the owner of a spool writes that. It has the form of a head:
//
//	{"version":1,"class":"vpn","spool":"4k7q…","epoch":1,"destination":"idc","number":7,"hash":"cccc…","last":4100000,"by":"…","reason":"…","time":"…"}
//	{"type":"seal","sha256":"…"}
//	{"type":"signature",…}
//
// Its key ends in the first 16 hexadecimal digits of the SHA-256 of its bytes, so that one that somebody forged takes no
// name away from a true one. Package audit writes and judges closings. See [Closing].
package ship
