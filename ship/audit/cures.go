package audit

// closeIt is the command that closes a spool, as cures contain it. If a finding names the spool, closeCommand replaces it.
const closeIt = "audit close"

// closeCommand is the command that closes a spool. The names are safe in a shell: see object.Origin.
func closeCommand(class, spool string) string {
	return closeIt + " -class " + class + " -spool " + spool + " -reason TEXT -at URL, with -at for each place where its chain is open"
}

// cureOfCopy is the cure for an open chain of a volume that also delivers under a related id. If the volume was adopted by a process
// that has ended permanently, and its owner or another adopter has since delivered everything as a copy, nobody will end the chain. Nor
// if its host calls the place by another name now.
const cureOfCopy = "if its host runs and calls this place by the same name as before, or if its volume is still to be adopted, do nothing; if everything that was on the volume " +
	"has been delivered under the related id, or the host delivers here by another name, nobody ends this chain any more: close it with " + closeIt

// cureOfNotOwed is the cure for an object that is not owed, if none of the places that are audited has its records.
const cureOfNotOwed = "audit this place together with one that was given these records: its chain shows whether they are right; otherwise keep the object, " +
	"because it may be the only copy, and move it to a key outside class="

// cureOfUnread is the cure for a document that cannot be read.
const cureOfUnread = "read the log of this place, make the document readable again (in an archive class: restore it), and audit again; if that is impossible, copy what is left of it " +
	"aside, and put it back from a version or backup of this place; if it is of no spool of yours, find out who has write access here"

// cures says what to do about each kind of finding. No cure removes or overwrites anything: an object that an auditor finds wrong, or
// does not know, may be the only copy of its records.
var cures = map[string]string{
	ManifestMissing:  "put the manifest back from a version or backup of this place; the records themselves may be intact: see another place's chain",
	ManifestDamaged:  "copy the manifest aside, then put it back from a version or backup of this place; the records themselves may be intact: see another place's chain",
	ChainBroken:      "find out who has write access here; copy the manifest aside, then put it back from a version or backup of this place",
	ChainCut:         "put the manifests back from a version or backup of this place, and find out who removed them",
	ChainMissing:     "put the chain back from a version or backup of this place; keep the objects, and do not use them until another place vouches for them",
	SequenceBroken:   "compare with another place; the records of the range are not proven here",
	AfterEnd:         "find out who wrote it: two owners of one spool, or a forgery; keep everything, it may be the only copy",
	FinalWrong:       "do not rely on this place; put its manifests back from a version or backup, or replay the range from the other place",
	LineWrong:        "find out who has write access here; copy the manifest aside, then put it back from a version or backup of this place",
	PlacesDiffer:     "the findings about objects and manifests of both places show which one is right; if none does, run again with deep",
	RecordsDoubled:   "keep both objects, but read these records from only one of them; find out which copies of the volume delivered them",
	SignatureWrong:   "if its collector does not sign, or signs with another key, give it the key, or name its public key too; otherwise find out who has write access here, copy the manifest aside, and put it back from a version or backup",
	ClosingWrong:     "find out who wrote it; if the chain is signed, the closing must be too; if the spool really is gone, close it again with audit close",
	HeadWrong:        "find out who has write access here; the chain that the head names is not affected",
	ObjectMissing:    "replay the range from a place that has it",
	ObjectAltered:    "keep it, because it may be the only copy; if another place has the whole range (audit that place with deep), move the object to a key outside class=, then replay the range from there",
	ObjectUnknown:    "keep it, because it may be the only copy of its records, and find out who wrote it; if it does not belong here, move it to a key outside class=: anyone who reads this folder reads its records too",
	ObjectSuperseded: "it is a second copy: anyone who reads this folder reads its records twice; if an audit with deep finds nothing wrong here, move it to a key outside class=, and keep it as long as other copies",
	ObjectNotOwed:    "nothing needs to be done: it is a sound object that this place need not have",
	RecordsDamaged:   "if the collector's disk still exists, its spool keeps the damaged file: see damaged/ there, and its report; otherwise these records are lost",
	Open:             "if the host is gone, attach its volume to another host, which drains it; if the host runs, do nothing; if the volume is permanently gone too, close the spool with audit close",
	Reopened:         "find out where it runs: on a host or volume that was thought to be gone, or on a copy; drain it, or, if it is gone now, close it again with audit close",
	Behind:           "if the collector runs, wait: it catches up by itself; if it is gone with its volume, replay the range from the place that has it",
	Absent:           "if the spool should not deliver here, audit its class without this place; otherwise read the collector's log",
	Uncovered:        "if the collector runs, wait for its next manifest; if it is gone, keep the object: no manifest here vouches for its records",
	Unread:           "read the log of this place, and audit again; keep the object; if it can no longer be read there, move it to a key outside class=, then replay the range from a place that has it",
	NotAppeared:      "look for its host and its volume: nothing of it has ever arrived",
	NotUnderstood:    "use an auditor that knows it: a newer one or, for an older version, the one of the program that wrote it; keep everything as it is",
	Crowded:          "find out who has write access here, and which of these classes are yours; audit each of those by itself (-class)",
	HourOpen:         "ask again when the hour is over",
}
