package vfs

import "testing"

// A clone of a file system has its identity, as a snapshot or an image has; a copy of its files has another one.
func TestMemVolume(t *testing.T) {
	m := NewMem()
	must(t, m.MkdirAll("spool"))
	f := create(t, m, "spool/f", "x")
	must(t, f.Close())
	must(t, m.SyncDir("spool"))
	if v := m.Volume("nowhere"); v != nil {
		t.Errorf("a place without a directory: %+v", v)
	}
	v := VolumeOf(Inject(m, func(Op) error { return nil }), "spool")
	if v == nil || v.UUID == "" || v.Inode == 0 || v.Birth == 0 {
		t.Fatalf("%+v", v)
	}
	for name, c := range map[string]*Mem{"killed": m.KillClone(), "snapshot": m.CrashClone(Crash{Names: NamesJournal})} {
		if w := c.Volume("spool"); v.Differs(w) {
			t.Errorf("%s: %+v is another place than %+v", name, w, v)
		}
	}
	c := m.FileCopy()
	wantContents(t, c, "spool/f", "x")
	if w := c.Volume("spool"); w.UUID == v.UUID || w.Birth < v.Birth {
		t.Errorf("a copy of the files: %+v, as the original %+v", w, v)
	}
	unmount := Mount("/vfs-volume", c)
	defer unmount()
	if w := VolumeOf(OS(), "/vfs-volume/spool"); w == nil || *w != *c.Volume("spool") {
		t.Errorf("mounted: %+v", w)
	}
}
