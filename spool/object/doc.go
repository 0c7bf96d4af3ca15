// Package object defines the keys of objects, manifests and documents at a destination: it formats and parses them
// ([ParseKey], [ParseChainKey]). It also describes how an object's content is encoded ([Encoding]). The spool, the shipper,
// the auditor and readers of a destination all use this package, so that no two of them can disagree. Keys are relative to a
// destination's prefix:
//
//	class=<class>/dt=YYYY-MM-DD/hour=HH/<spool>-<epoch>-<first>-<last>[.<hash>]<ext>    data: Key
//	_manifest/<class>/<spool>/<epoch>/<number>.jsonl                                    a manifest: ManifestKey
//	_manifest/<class>/<spool>/<epoch>/heads/<destination>-<number>.json                 the head of another destination's chain: HeadKey
//	_manifest/<class>/<spool>/closed/<epoch>-<number>-<sum>.json                        a closing: ClosingKey
//	_report/<class>/<spool>-<epoch>-<time>.json                                         a drain's report: ReportKey
//	_repair/<class>/<spool>/<epoch>-<first>-<last>-<time>.json                          the note of a repair: RepairKey
//	_complete/<class>/dt=YYYY-MM-DD/hour=HH.json                                        the marker of a complete hour: MarkerKey
//	_tmp/<spool>/                                                                       temporary files
//
// An epoch has 6 decimal digits, the number of a manifest 12; first and last are sequence numbers of 16 hexadecimal digits.
// A leading underscore hides a folder from Hadoop and Athena.
package object
