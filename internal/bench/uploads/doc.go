// Package uploads compares what uploads to S3 cost: ours with checksum and verification, the bare manager of the AWS SDK,
// rclone and the AWS command line, to versitygw on loopback.
//
//	apt-get install -y rclone awscli    # one that is missing is left out, with a message; rclone is downloaded
//	cd internal/bench && go test -run '^$' -bench . -benchtime 5x ./uploads
//
// The comparison with OpenSSH's sftp, at 0, 20 and 80 ms, is in ship/sftpship:
//
//	go test -run '^$' -bench Upload -benchtime 5x ./ship/sftpship
package uploads
