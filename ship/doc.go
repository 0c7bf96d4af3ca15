// Package ship delivers the records of a spool to every destination, and writes manifests there that prove the delivery.
//
// A [Destination] stores objects. Package ship/open lists the drivers that implement it; package shiptest has the tests that
// any other implementation must pass. A [Shipper] delivers the sealed segments of a spool to all destinations. It stages each
// segment once (encodes, compresses and hashes it), uploads it to all destinations in parallel, and compares the size and
// checksum that each destination itself reports with what was sent. Then it writes the next manifest of that destination's
// chain. The chain covers a segment once a manifest has the segment's lines, which list damaged records as gaps. A record is
// delivered to a destination once that destination's chain covers it. The spool deletes a segment after the chain of every
// destination covers it.
//
// # Guarantees
//
//   - Destinations are independent. One that is slow, dead, full or misconfigured delays no other destination and no start.
//     The shipper retries indefinitely, with capped and jittered waits. If only an operator can fix the cause, the shipper
//     logs what to do and probes the destination from time to time.
//   - Effectively once. The key and bytes of an object are fixed before the first attempt, and nothing is ever overwritten: a
//     retry after a crash or a lost response finds its own object. If the key holds other bytes, that is a conflict: the
//     shipper leaves those bytes there, the chain stops before that segment, and the log reports the conflict. Everything
//     else continues.
//   - One writer for each manifest. The shipper makes a manifest's bytes durable in the spool before it sends them, and the
//     destination creates them only if that number is free. If other bytes are there, another owner writes this chain too,
//     because the volume was copied, restored from a snapshot, or adopted. This shipper compares the other owner's manifests
//     with its spool and with the objects at the destination, and accepts them as long as they agree. From the first
//     difference on, it delivers its records under a new spool id, in a new chain.
//   - One adopter. An adopter (spool.Adopt, [Shipper.Claim]) takes over an orphan's chains by creating the next manifest of
//     the old epoch, which contains closed_by. It begins at the destination whose name sorts first. If another adopter has
//     created that manifest already, this one stops. If the winner dies, a later adopter reads the winner's manifests and
//     continues the chain after them.
//   - Bounded. At each destination the shipper has at most 2 × [Options].Workers segments in progress (eight small ones count
//     as one). It stages a segment only when an upload waits for it.
//
// # Objects
//
// Package spool/object defines the keys of everything below a destination's prefix, and package ship/format the content of
// objects with records. A spool can change its id (see above). The key of an object contains the id that the spool had when
// it began the segment. All ids of one spool have the same first ten characters: see object.Related.
//
// # Manifests, version 4
//
// MANIFEST.md describes the formats member by member, and what a checker must check. That is enough to write a checker in
// another language (examples/checker is one). In short: a manifest is a file of JSON lines, one object per line, each line
// ended by a newline. From the chain alone an auditor knows which records the destination has confirmed, that none of them is
// missing or listed twice, how many were lost before they could be kept, and whether more is owed. This is manifest number 7,
// shortened:
//
//	{"type":"header","version":4,"class":"vpn","spool":"4k7q…","epoch":1,"number":7,"prev":"cccc…","prev_last":4000000,"instance":"i-0abc","destination":"idc","time":"2026-11-22T08:02:00.123456789Z"}
//	{"type":"segment","segment":41,"first":4000001,"last":4100000,"records":99990,"bytes":51200000,"gaps":[{"first":4050001,"last":4050010}],"min_time":"…","max_time":"…","key":"class=vpn/dt=2026-11-22/hour=08/4k7q…-000001-00000000003d0901-00000000003e8fa0.ndjson.zst","format":"ndjson","codec":"zstd","level":3,"raw_bytes":59000000,"raw_sha256":"aaaa…","size":9800000,"sha256":"bbbb…","crc64nvme":"0123456789abcdef","receipt":{"size":9800000,"checksum":"sha256:bbbb…","method":"remote-sha256sum","time":"…"}}
//	{"type":"loss","segment":41,"after":4100000,"lost":{"kernel_overflow":{"records":12,"bytes":null}},"filtered":{"records":80,"bytes":4100}}
//	{"type":"footer","segments":1,"losses":1,"segment":41,"last":4100000,"sha256":"7ece…"}
//
// The header names the chain and the number of the manifest. Numbers begin at 0 in each epoch (a period with one owner of
// the chain); number 0 is sent before any data. "prev" is the SHA-256 of the bytes of the previous manifest (in number 0: of
// the last one of the previous epoch, or zeros in the first), and "prev_last" is the last sequence number that the previous
// manifest covers. "joined" (left out if 1) is the first sequence number that this destination must get; "forgotten" names
// destinations that were given up. See [ManifestHeader].
//
// A segment line says which records an object holds. It is the same at every destination, except for the receipt, which is
// that destination's own confirmation of the object, and except where copies of a volume cause a difference ("whole", and
// keys with a hash). Sequence numbers continue from line to line and from manifest to manifest without a hole. "gaps" are
// ranges of records that were damaged before the segment was staged; "records" is last − first + 1, minus the length of the
// gaps. If no record of a segment is readable, its line has no key. See [SegmentLine].
//
// "whole":{"first":…,"gaps":…,"raw_sha256":"…"} marks a line that describes only the last records of a segment. The owner of
// another copy of the volume has delivered the first ones already (see object.Related). The three members describe the
// complete segment: its first sequence number, its damaged records, and the SHA-256 of its content, which a destination with
// the complete object lists too. If another owner has delivered all records of the segment, last is first − 1, and the line
// has no key. See [Whole].
//
// A loss line follows the segment line of its segment, or is on its own if the segment never held a record. It counts, by
// cause, the records that were lost while that segment was active, and their bytes. If the size of some of them is unknown,
// "bytes" is null, and "bytes_seen" counts the known bytes. "unaccounted" lists periods for which the loss can only be
// bounded, because the process or the machine died:
// {"from":…,"to":…,"known":{"records":0,"bytes":0},"at_most_bytes":134217728}. "known" counts records that were received but
// are neither kept nor counted as lost. "filtered" and "made" count the records that were dropped and made on purpose; each
// is left out if it is zero. See [LossLine].
//
// The footer counts the lines and states how far the chain reaches: to which segment and sequence number. Its "sha256" is the
// hash of all lines before it and of its own line with "sha256":"". (Version 1 did not hash the footer, so damage to the
// footer of the last manifest could not be detected. The ndjson objects of version 2 had no spool in their lines. The loss
// lines of version 3 had neither "filtered" nor "made".) See [ManifestFooter]. Three members are optional:
//
//   - "final":true states that this destination has every record that was ever kept (from "joined" on) and every loss count.
//     Nothing follows in that epoch; if the chain continues, it does so in the next epoch.
//   - "passed":"2026-11-22T09:00:00Z" states that every segment that this chain does not cover yet begins at that time or
//     later. So the shipper will store nothing more in the folder of an earlier hour. The member is in the first manifest of
//     an epoch, if the shipper knows the time, and in one manifest an hour while no records arrive. The hour of a folder is
//     the hour in which its segment begins. No segment begins before an earlier segment, or before such a stated time, even
//     if the clock is set back by up to a day.
//   - "closed_by":{"instance":…,"epoch":…,"claim":…} states that another host, or an adopter, has taken over the chain and
//     continues it in a later epoch. No manifest follows in this epoch.
//
// If the sender has a key ([Options].Signer), a last line signs the footer, and through the footer's hash everything else:
//
//	{"type":"signature","algorithm":"ed25519","key":"<public key, 64 hex digits>","signature":"<128 hex digits>"}
//
// The signature covers the bytes of the line before it, including the newline (RFC 8032, pure Ed25519). Because each
// manifest names the hash of the previous one, a signed manifest vouches for all earlier manifests: signing can begin, and
// keys can change, in the middle of a chain. "prev" hashes the signature too. A reader without keys accepts every
// signature, even one of an algorithm that it does not know. A reader with keys requires that the end of each chain is
// signed by one of them. See [Manifest.CheckSignature].
//
// There is exactly one way to write a manifest: fields in the order shown, no spaces, false, empty or zero fields left out
// where [Manifest] says omitempty, times in UTC as RFC 3339 with as many decimals as they need. Readers refuse anything else,
// so that a manifest has one meaning only. Integers are at most 2^53. Any addition to the format gets a new version. A reader
// refuses a version that it does not know with [ErrVersion]; it does not report such a manifest as damaged.
//
// # Heads, version 2
//
// A chain alone cannot show that its last manifests were cut off. The shipper therefore stores the head of each chain
// (number, hash, last sequence number) at the other destinations too, under heads/: at most every ten minutes, and with a
// final manifest. A head is created once and never changed, and nothing waits for it. A head has two or three lines:
//
//	{"version":2,"class":"vpn","spool":"4k7q…","epoch":1,"destination":"idc","number":7,"hash":"cccc…","last":4100000,"final":true,"time":"…"}
//	{"type":"seal","sha256":"<of the line before, its newline included>"}
//	{"type":"signature",…}
//
// The seal is needed to detect damage to the head, since no other file contains a head's hash. The signature covers the line
// of the seal. See [Head]. Version 1 had no seal.
//
// # Closings, version 1
//
// A spool that is permanently gone (its volume was deleted, or cannot be read any more) leaves a chain without a final
// manifest, and every audit reports it as owed. An operator may close the chain. A closing states who closes it, when and
// why, and which manifest of which destination's chain is the last one (epoch, number, hash, last sequence number). It is
// stored beside the chain, is created once, and never changes the chain: only the owner of a spool writes the chain. A
// closing has the form of a head:
//
//	{"version":1,"class":"vpn","spool":"4k7q…","epoch":1,"destination":"idc","number":7,"hash":"cccc…","last":4100000,"by":"…","reason":"…","time":"…"}
//	{"type":"seal","sha256":"…"}
//	{"type":"signature",…}
//
// Its key ends in the first 16 hexadecimal digits of the SHA-256 of its bytes, so that a forged closing cannot take the key
// of a true one. Package audit writes and judges closings. See [Closing].
//
// # The way through the files
//
// The files from the outside in: options.go and shipper.go configure and run a Shipper. destination.go, object.go and
// backoff.go contain what a driver implements and uses. location.go finds two names for one destination; guard.go guards
// against a faulty one. publish.go stores a report, limit.go bounds the rate of uploads, and join.go adds a destination.
//
// Each destination has a lane: lane.go keeps its window full, places.go bounds the uploads in progress, deliver.go uploads
// one segment, turn.go waits for room in a full spool, and stager.go stages the segment. taken_key.go chooses the object's
// key, attempts.go remembers which keys are new, and proof.go demands proof before a conflict is believed. health.go retries
// and counts failures, outage.go logs them, and stats.go, times.go and meter.go report them; hooks.go calls an embedder's
// hooks.
//
// Each destination has a chain: chain_begin.go prepares it for the next manifest, chain_write.go writes manifests, flush.go
// waits for them, and heads.go stores the chain's head at the other destinations. follow.go reads the manifests that are
// already at the destination, and accept.go decides whether those of another owner become part of the chain. compare.go and
// records.go compare them with this spool, whose records records_own.go reads. identity.go derives the spool id for records
// that are delivered in a new chain. adopt.go claims the chains of an adopted spool.
//
// Manifests: manifest.go defines and encodes them, manifest_decode.go and manifest_validate.go read them, and chain_read.go
// reads a chain. sign.go signs, seal.go seals heads and closings, and closing.go defines closings. verify.go,
// verify_line.go and verify_differing.go ask a destination again about everything.
package ship
