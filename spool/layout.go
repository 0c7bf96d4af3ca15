package spool

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// The names in a spool's directory. Everything but the index is needed; the index can be rebuilt from the rest.
//
//	spool.json                identity: spool id, epoch, instance, class, destinations
//	LOCK                      held, and names the holder, while the spool is open
//	clean                     the clean mark: present only between an orderly Close and the next Open
//	life                      how much a process that has the spool open may hold in memory: gone after an orderly Close
//	adopted                   present when an adopter has delivered everything, until the next Open
//	frozen                    present while nothing may be deleted: see Freeze
//	begun                     the newest segment: its number, and how far it is durable
//	ledger.json               the ledger, when no segment is left that contains it
//	index.db                  bbolt: a description of each sealed segment
//	seg/<16 hex>.seg          segments by number
//	stage/<16 hex>.obj        staged files, and beside each its stage record, .json
//	chain/<destination>.json  chain state and delivered counts
//	chain/<destination>.next  the proposed manifest, after a line with its epoch and number, and whether it is final
//	free/<16 hex>             files of deleted segments, to be reused
//	free/inode-<n>            empty files: a reserve of inodes for when the file system has no others
//	damaged/                  files that are damaged or cannot be used: they may be the only copy of some records, count against
//	                          the quota, and stay until the operator removes them
//	kept-<time>/              the files that a repair has replaced, with its plan: see PlanRepair. The operator removes it
//	damaged/<16 hex>.json     a note of the damage in a segment, and .given-up: the ranges that the operator has given up
const (
	lockName    = "LOCK"
	cleanName   = "clean"
	frozenName  = "frozen"
	lifeName    = "life"
	adoptedName = "adopted"
	begunName   = "begun"
	ledgerName  = "ledger.json"
	segDir      = "seg"
	stageDir    = "stage"
	chainDir    = "chain"
	freeDir     = "free"
	damagedDir  = "damaged"

	segExt   = ".seg"
	objExt   = ".obj"
	recExt   = ".json"
	stateExt = ".json"
	nextExt  = ".next"
)

// subdirs are the directories that a spool has.
var subdirs = map[string]bool{segDir: true, stageDir: true, chainDir: true, freeDir: true, damagedDir: true}

func (s *site) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

func (s *site) segPath(n uint64) string  { return s.path(segDir, numberName(n)+segExt) }
func (s *site) objPath(n uint64) string  { return s.path(stageDir, numberName(n)+objExt) }
func (s *site) recPath(n uint64) string  { return s.path(stageDir, numberName(n)+recExt) }
func (s *site) freePath(n uint64) string { return s.path(freeDir, numberName(n)) }

func numberName(n uint64) string { return fmt.Sprintf("%016x", n) }

// parseName returns the number in a name with the given extension.
func parseName(name, ext string) (uint64, bool) {
	base, ok := strings.CutSuffix(name, ext)
	if !ok || len(base) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(base, 16, 64)
	return n, err == nil && n > 0 && numberName(n) == base
}
