package object

import (
	"cmp"

	"github.com/penstock-go/penstock/spool/segment"
)

// Origin names the sender of an object or of a chain: a class of traffic and the id of a spool.
type Origin struct {
	Class, Spool string
}

// Check returns an error unless both names are well formed.
func (o Origin) Check() error {
	return cmp.Or(segment.CheckClass(o.Class), segment.CheckSpoolID(o.Spool))
}

// Compare orders origins by class, then by spool.
func (o Origin) Compare(x Origin) int {
	return cmp.Or(cmp.Compare(o.Class, x.Class), cmp.Compare(o.Spool, x.Spool))
}

// Lineage returns the origin with only the Lineage of the spool id.
func (o Origin) Lineage() Origin { return Origin{o.Class, Lineage(o.Spool)} }

// LineageLen is the length of Lineage in characters.
const LineageLen = 10

// Lineage returns the part of a spool id that all ids derived from it share.
func Lineage(id string) string { return id[:min(len(id), LineageLen)] }

// Related reports whether two spool ids can be those of one volume and its copies. See design.md, "A copy of a volume
// delivers what only it has, under an identity of its own".
func Related(a, b string) bool {
	return len(a) == len(b) && len(a) > LineageLen && Lineage(a) == Lineage(b)
}

// Related reports whether two origins are of one class, and of one spool or of a volume and its copies.
func (o Origin) Related(x Origin) bool {
	return o.Class == x.Class && (o.Spool == x.Spool || Related(o.Spool, x.Spool))
}
