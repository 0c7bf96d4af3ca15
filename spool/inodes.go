package spool

import "github.com/penstock-go/penstock/internal/vfs"

// inodePrefix begins the names of a reserve of empty files, free/inode-1 and so on (vfs.Reserve). A file system may have no
// free inode although it has free blocks: small files of others, on a volume that was made for few. Staging and
// acknowledging need some files for as long as it takes to delete a segment, and without them a full spool could never
// empty itself.
//
// Only the segment that is the next one for a destination gets them: a later one would keep what it took, its staged file
// and its record, for as long as it waits for the earlier one. New segments get none: those that are deleted leave their
// files to them. For both no file is created before the reserve is complete: they would otherwise take the inodes that it
// has given and that have become free again.
const inodePrefix = "inode-"

// newInodes returns the reserve: for each destination a staged file and its record, and a mark, a manifest that is proposed,
// and temporary files.
func newInodes(at *site) *vfs.Reserve {
	return vfs.NewReserve(at.fs, at.path(freeDir, inodePrefix), 8+2*len(at.opts.Destinations))
}

// fillInodes makes the files that are missing, and returns the disk's refusal. An adopted spool has none: nothing is to be
// written to the source.
func (s *space) fillInodes() error {
	if s.source != nil {
		return nil
	}
	if err := s.inodes.Fill(); vfs.IsNoSpace(err) {
		return err
	}
	return nil
}

// giveInode sets an inode free if that may be what err is about: the disk refused to make a file, and has room for size
// bytes. false: it is about something else, or there is none left.
func (s *space) giveInode(err error, size int64) bool {
	return vfs.IsNoSpace(err) && s.stageRoom(size) && s.inodes.Give(err)
}
