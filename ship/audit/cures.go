package audit

// cures says what to do about each kind of finding. None of them removes or overwrites anything: what an auditor finds wrong
// or does not know may be the only copy of what it holds.
var cures = map[string]string{
	ManifestMissing:  "put the manifest back from a version or backup of this place; the records themselves may be whole, another place's chain tells",
	ManifestDamaged:  "copy the manifest aside, then put it back from a version or backup of this place; the records themselves may be whole, another place's chain tells",
	ChainBroken:      "find out who has write access here; copy the manifest aside, then put it back from a version or backup of this place",
	ChainCut:         "put the manifests back from a version or backup of this place, and find out who removed them",
	ChainMissing:     "put the chain back from a version or backup of this place; keep the objects, and do not use them before another place vouches for them",
	SequenceBroken:   "compare with another place; records in the range named are not proven here",
	AfterEnd:         "find out who wrote it: two owners of one spool, or a forgery; keep everything, it may be the only copy",
	FinalWrong:       "do not rely on this place; put its manifests back from a version or backup, or replay the range from the other place",
	LineWrong:        "find out who has write access here; copy the manifest aside, then put it back from a version or backup of this place",
	PlacesDiffer:     "findings on the objects and manifests of either place tell which is right; if none does, run again with deep",
	RecordsDoubled:   "keep both objects, and read these records from one of the two only; find out which copies of the volume delivered them",
	SignatureWrong:   "if its sender does not sign, or with another key, give it the key, or name its public key too; else find out who has write access here, copy the manifest aside, and put it back from a version or backup",
	ClosingWrong:     "find out who wrote it, and, if the spool really is gone, close it again with audit close, signed where signing is used",
	HeadWrong:        "find out who has write access here; the chain that it speaks of is not affected",
	ObjectMissing:    "replay the range from a place that has it",
	ObjectAltered:    "keep it, since what is left of it may be the only copy; if another place has the range whole (audit that place with deep), move the object to a name outside class=, then replay the range from there",
	ObjectUnknown:    "keep it, since it may be the only copy of what it holds, and find out who wrote it; if it does not belong here, move it to a name outside class=: whoever reads this folder reads its records too",
	ObjectSuperseded: "it is a second copy: whoever reads this folder reads its records twice; if an audit with deep finds nothing wrong here, move it to a name outside class=, and keep it as long as other copies",
	RecordsDamaged:   "if the sender's disk still exists, its spool keeps the damaged file: see damaged/ there, and its report; otherwise these records are lost",
	Open:             "if the host is gone, attach its volume to another and let it be drained; if the volume is gone for good too, close the spool: audit close; if it runs, nothing",
	Reopened:         "find out where it runs: a host or a volume that was thought to be gone, or a copy; let it be drained, or, if it is gone now, close it again with audit close",
	Behind:           "if the sender lives, wait: it catches up by itself; if it is gone with its volume, replay the range from the place that has it",
	Absent:           "if the spool is not meant to deliver here, audit its class without this place; else look at the sender's log",
	Uncovered:        "if the sender lives, wait for its next manifest; if it is gone, keep the object: no manifest here vouches for its records",
	Unread:           "look at the log of this place, and audit again; keep the object, and if it cannot be read there any more, move it to a name outside class=, then replay the range from a place that has it",
	NotAppeared:      "look for its host and its volume: nothing of it has ever arrived",
	NotUnderstood:    "use an auditor that knows it: a newer one, or for an older version that of the program that wrote it; keep everything as it is",
	HourOpen:         "ask again when the hour is over",
}
