package spool

import "github.com/penstock-go/penstock/internal/vfs"

// inodePrefix begins the names of a reserve of empty files, free/inode-1 and so on (vfs.Reserve). A file system may have no
// free inode although it has free blocks, for instance because of other programs' small files on a volume with few inodes. Staging
// and acknowledging need some files until a segment can be deleted. Without free inodes a full spool could never empty itself.
//
// Only the segment that is the next one for a destination gets inodes of the reserve: a later segment would keep them, for its staged
// file and its stage record, as long as it waits for the earlier one. New segments get none, since they reuse the files of
// deleted segments. For later segments and for new ones no file is created before the reserve is complete: it would otherwise take an
// inode that the reserve has given and that has become free again.
const inodePrefix = "inode-"

// newInodes returns the reserve: two files for each destination, the staged file and its record, and some for a mark, a proposed
// manifest, and temporary files.
func newInodes(at *site) *vfs.Reserve {
	return vfs.NewReserve(at.fs, at.path(freeDir, inodePrefix), 8+2*len(at.opts.Destinations))
}

// fillInodes creates the missing files of the reserve, and returns an error if the disk has no inode. An adopted spool has no
// reserve, since nothing is written to the source.
func (s *space) fillInodes() error {
	if s.source != nil {
		return nil
	}
	if err := s.inodes.Fill(); vfs.IsNoSpace(err) {
		return err
	}
	return nil
}

// giveInode frees an inode if a missing inode may be the cause of err: the disk refused to create a file although it has room for
// size bytes. false: err has another cause, or the reserve is empty.
func (s *space) giveInode(err error, size int64) bool {
	return vfs.IsNoSpace(err) && s.stageRoom(size) && s.inodes.Give(err)
}
