// Package s3ship delivers to Amazon S3 and compatible stores. [Open] takes a URL, [New] an aws.Config; both return a
// [Destination], which is a ship.Destination, Lister, Checker and Locator.
//
// # What a nil error from Put rests on
//
// Put trusts only HeadObject, never the response to an upload: that may be lost, or may be a 200 with an error in its body. Before
// the upload, HeadObject shows whether the key exists. After it, HeadObject must show the same size and the same full-object
// CRC-64/NVME. The spool computes this checksum when it stages the object, and the driver sends it with the upload, so that the
// store rejects a body that does not match. If the store keeps no such checksum, the object is read back and its SHA-256 compared,
// and the receipt says so ("read-back"). ETags are ignored, because they are not checksums.
//
// Each upload is sent with `If-None-Match: *`, so that no object is ever overwritten. 412 is success if the object there is the
// same, otherwise ship.ErrConflict. An object that Put may not have created itself is read back, and its SHA-256 compared: anyone
// who may write there can make other bytes with the same CRC. Once the store has answered 412 to this process, as it does during
// [Destination.Check], an object that is new (ship.Object.New) and fits in one request is sent without the first HeadObject. If an
// upload fails, Put aborts it, with a context of its own. [Destination.Sweep], which [Destination.Check] calls, aborts the uploads
// that a killed process has left. Requests are limited by progress, not by their total time: only a request in which no byte moves
// for Options.StallTimeout is ended.
//
// # The URL
//
//	s3://BUCKET/PREFIX?name=value&…
//
//	endpoint          base URL of a compatible store; default Amazon S3, or AWS_ENDPOINT_URL_S3
//	region            default AWS_REGION or the shared configuration; us-east-1 with an endpoint
//	path_style        true: http://HOST/BUCKET/KEY, which most compatible stores need
//	profile           of the shared AWS configuration
//	ca_file           PEM file of authorities to trust instead of the system's
//	compat            true: for older compatible stores, see below
//	part_size         size above which an object is sent in parts, 5MiB to 5GiB; default 64MiB
//	concurrency       parts of one object at once; default 4
//	stall_timeout     default 30s
//	attempts          per request, before the shipper's own retries; default 3
//	sse               AES256, aws:kms or aws:kms:dsse; default the bucket's
//	sse_kms_key_id    id, alias or ARN; without sse it means sse=aws:kms
//	storage_class     default STANDARD; not one that must be restored before reading
//	object_lock_mode  GOVERNANCE or COMPLIANCE, with
//	object_lock_for   a duration such as 8760h
//	tags              k=v&k=v, escaped: tags=team%3Dsec%26env%3Dprod
//	requester_pays    true
//	bucket_owner      12-digit account that must own the bucket
//	sweep_age         of unfinished uploads that are aborted; default 24h
//
// Credentials come from the AWS default chain: environment, shared files, web identity, container, instance role. They are read
// again when the store does not accept them, so that an operator can correct them without a restart: at once after an error code
// that is about credentials, and at most once a minute after any other refusal. They are never in a URL, a log, an error or a
// receipt.
//
// # Permissions
//
// The minimum for a destination s3://BUCKET/PREFIX:
//
//	{"Version": "2012-10-17", "Statement": [
//	  {"Effect": "Allow", "Action": ["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"],
//	   "Resource": "arn:aws:s3:::BUCKET/PREFIX/*"},
//	  {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:ListBucketMultipartUploads"],
//	   "Resource": "arn:aws:s3:::BUCKET"}
//	]}
//
// Leave out the second statement if nothing lists the bucket: audits need s3:ListBucket, Sweep needs
// s3:ListBucketMultipartUploads. If Sweep lacks its permission, set a lifecycle rule with AbortIncompleteMultipartUpload.
// s3:DeleteObject is not needed. Tags need s3:PutObjectTagging, object lock needs s3:PutObjectRetention, and SSE-KMS needs
// kms:GenerateDataKey and kms:Decrypt on the key. In other partitions than aws, ARNs begin differently: arn:aws-cn,
// arn:aws-us-gov, arn:aws-eusc.
//
// # Stores
//
// "Tried" means end to end: records in objects of one request and of several parts, each verified, and a deep audit. The other
// lines are from the stores' documentation and issues, and were not tried. All but Amazon S3 need endpoint=, and path_style=true
// unless their DNS has a name for each bucket.
//
//	store                     options        known
//	Amazon S3                                directory buckets (S3 Express) are refused: they list in no order
//	versitygw 1.8             path_style     tried, with and without TLS
//	MinIO 2026-02 (source)    path_style     tried, with object locks too. ListMultipartUploads wants an exact
//	                                         key, so that Sweep finds nothing: MinIO removes stale uploads itself
//	rclone serve s3 1.76      path_style     tried, with and without compat. It keeps no checksum of objects in parts: those
//	                                         are read back
//	Cloudflare R2             path_style     region=auto; CRC-64/NVME of the full object and conditions are documented
//	Ceph rgw 16.2             path_style     tried, with and without TLS and compat. It keeps no CRC-64/NVME: every object is read
//	                                         back. It ignores conditions of uploads in parts, which Check says: give a part_size
//	                                         above the size of the objects
//	Backblaze B2              compat         refuses checksum headers and If-None-Match
//	Google Cloud Storage      compat         interoperability keys; refuses checksum headers, ignores If-None-Match
//	OpenStack Swift 2.30      compat         tried: s3api answers 501 to conditions; the region as configured in the proxy
//	s3proxy                   compat         conditions depend on the backend, and not every backend keeps them
//	NetApp StorageGRID        compat         If-None-Match may be answered with 501, or be ignored
//	Storj                     compat         lists in no order: takes deliveries, cannot be audited
//
// If in doubt leave compat out: Check tries every request that uploads send, a condition and a wrong checksum, and its
// error says when compat=true is needed.
//
// # Compat
//
// Older compatible stores reject checksum fields and conditions, or ignore them, or, worst, store the framing of a checksum
// trailer as part of the object. The driver never sends a trailer. With compat=true it sends no condition either, and no checksum
// field except Content-MD5, which every store knows and object locks require. The body is hashed before it is sent, the signature
// covers it, and every object is read back. compat=true gives up conditional creation: if two processes put the same key at the
// same moment, the later one overwrites the earlier one undetected (within one process they wait for each other). Keys are unique
// to spool and epoch, so only two adopters of one volume could meet that way: do not run two with compat=true. Receipts say so:
// "no-condition".
//
// Sources: the Amazon S3 API reference and user guide ("Checking object integrity", "Conditional writes"), and the AWS SDK for Go,
// whose pitfalls are explained where the code avoids them.
package s3ship
