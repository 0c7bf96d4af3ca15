package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/statefile"
	"github.com/penstock-go/penstock/spool/segment"
)

var identityTime = time.Date(2026, 3, 4, 5, 6, 7, 89, time.UTC)

func noSegments() (*identity, error) { return nil, nil }

// spoolDir returns a file system with an empty directory "d".
func spoolDir(t testing.TB) *vfs.Mem {
	t.Helper()
	m := vfs.NewMem()
	if err := m.MkdirAll("d"); err != nil {
		t.Fatal(err)
	}
	return m
}

func mustIdentity(t testing.TB, fsys vfs.FS, class, instance string) *identity {
	t.Helper()
	id, err := openIdentity(nil, fsys, "d", class, instance, noSegments)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestIdentityLife(t *testing.T) {
	m := spoolDir(t)
	if _, err := loadIdentity(m, "d"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no spool: %v", err)
	}
	if got, _ := m.ReadDir("d"); len(got) != 0 {
		t.Error("looking left something behind")
	}
	id := mustIdentity(t, m, "vpn", "host-a")
	if id.Epoch != 1 || id.Class != "vpn" || id.Instance != "host-a" || id.Created.IsZero() {
		t.Errorf("new: %+v", id)
	}
	id.Destinations["idc"] = remembered{Joined: 1}
	id.Destinations["s3-eu_1"] = remembered{Joined: 1 << 60, Forgotten: identityTime}
	if err := id.save(m, "d"); err != nil {
		t.Fatal(err)
	}
	m = m.CrashClone(vfs.Crash{}) // what was saved is durable
	if got := mustIdentity(t, m, "vpn", "host-a"); !reflect.DeepEqual(got, id) {
		t.Errorf("got %+v, want %+v", got, id)
	}
	for range 2 { // another instance starts an epoch, once
		got := mustIdentity(t, m, "vpn", "host-b")
		if got.Epoch != 2 || got.Instance != "host-b" || got.Spool != id.Spool || len(got.Destinations) != 2 {
			t.Errorf("another instance: %+v", got)
		}
		m = m.CrashClone(vfs.Crash{})
	}
	if _, err := openIdentity(nil, m, "d", "web", "host-b", noSegments); err == nil || !strings.Contains(err.Error(), `holds class "vpn", not "web"`) {
		t.Errorf("another class: %v", err)
	}
	if got, err := loadIdentity(m, "d"); err != nil || got.Epoch != 2 {
		t.Errorf("after a refused class: %+v, %v", got, err)
	}
}

func TestIdentityDamaged(t *testing.T) {
	m := spoolDir(t)
	id := mustIdentity(t, m, "vpn", "host-a")
	good, err := statefile.Seal(id)
	if err != nil {
		t.Fatal(err)
	}
	header := &segment.Header{
		Spool: id.Spool, Class: "vpn", Epoch: 7, Instance: "host-a", Segment: 9, Created: identityTime,
		Ledger: segment.Ledger{Time: identityTime, Destinations: map[string]segment.Delivery{"idc": {}, "old": {Forgotten: true}}},
	}
	try := func(name string, data []byte) {
		t.Helper()
		if err := vfs.WriteFileAtomic(m, "d/spool.json", data); err != nil {
			t.Fatal(err)
		}
		if _, err := loadIdentity(m, "d"); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "d/spool.json") {
			t.Errorf("%s: load: %v", name, err)
		}
		// Without a segment nobody may give the directory another id.
		if _, err := openIdentity(nil, m, "d", "vpn", "host-a", noSegments); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "move the whole directory elsewhere and keep it") {
			t.Errorf("%s: open: %v", name, err)
		}
		if _, err := openIdentity(nil, m, "d", "vpn", "host-a", func() (*identity, error) { return nil, syscall.EIO }); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: unreadable segments: %v", name, err)
		}
		if _, err := openIdentity(nil, m, "d", "web", "host-a", func() (*identity, error) { return identityOf(header), nil }); err == nil {
			t.Errorf("%s: made again for another class", name)
		}
		got, err := openIdentity(nil, m, "d", "vpn", "host-a", func() (*identity, error) { return identityOf(header), nil })
		if err != nil || got.Spool != id.Spool || got.Epoch != 7 || got.Instance != "host-a" || len(got.Destinations) != 2 ||
			!got.Destinations["old"].Forgotten.Equal(identityTime) || !got.Destinations["idc"].Forgotten.IsZero() {
			t.Errorf("%s: made again: %+v, %v", name, got, err)
		}
		if again := mustIdentity(t, m, "vpn", "host-a"); !reflect.DeepEqual(again, got) {
			t.Errorf("%s: not kept: %+v", name, again)
		}
	}
	try("empty", nil)
	try("cut off", good[:len(good)-1])
	for at := range good {
		bad := bytes.Clone(good)
		bad[at] ^= 0x20
		if at%16 == 0 {
			try(fmt.Sprint("byte ", at), bad)
		} else if err := statefile.Open(bad, new(identity)); err == nil {
			t.Errorf("byte %d flipped: not noticed", at)
		}
	}
	id.Epoch = 0 // sealed, and wrong all the same
	bad, err := statefile.Seal(id)
	if err != nil {
		t.Fatal(err)
	}
	try("epoch 0", bad)

	if err := m.Remove("d/spool.json"); err != nil {
		t.Fatal(err)
	}
	if got, err := openIdentity(nil, m, "d", "vpn", "host-b", func() (*identity, error) { return identityOf(header), nil }); err != nil || got.Epoch != 8 || got.Spool != id.Spool {
		t.Errorf("the file gone, segments present: %+v, %v", got, err)
	}
}

// A spool of an older version is left as it is: its chains cannot be continued, so nothing may be added to it.
func TestIdentityOlder(t *testing.T) {
	m := spoolDir(t)
	data, err := statefile.Seal(map[string]any{
		"version": 2, "spool": "01m8h891vt89gsr7rdp1ase56j", "class": "vpn", "epoch": 1, "instance": "host-a", "created": time.Unix(1, 0).UTC(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := vfs.WriteFileAtomic(m, "d/spool.json", data); err != nil {
		t.Fatal(err)
	}
	for _, instance := range []string{"host-a", "host-b"} {
		_, err := openIdentity(nil, m, "d", "vpn", instance, func() (*identity, error) {
			t.Error("an older file is no damaged one")
			return nil, nil
		})
		if !errors.Is(err, errOlder) || !strings.Contains(err.Error(), "d/spool.json has version 2") || !strings.Contains(err.Error(), "drain it with the program that wrote it") {
			t.Fatalf("older, opened by %s: %v", instance, err)
		}
		if after, err := vfs.ReadFile(m, "d/spool.json", maxIdentity); err != nil || !bytes.Equal(after, data) {
			t.Fatalf("the file of an older version was changed: %s, %v", after, err)
		}
	}
}

func TestIdentityNewer(t *testing.T) {
	m := spoolDir(t)
	data, err := statefile.Seal(map[string]any{"version": 9, "spool": 17, "destinations": "elsewhere"})
	if err != nil {
		t.Fatal(err)
	}
	if err := vfs.WriteFileAtomic(m, "d/spool.json", data); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := openIdentity(nil, m, "d", "vpn", "host-a", func() (*identity, error) {
			t.Error("a newer file is no damaged one")
			return nil, nil
		})
		if !errors.Is(err, statefile.ErrNewer) || !strings.Contains(err.Error(), "version 9") {
			t.Fatalf("newer: %v", err)
		}
	}
}

func TestIdentityLastEpoch(t *testing.T) {
	m := spoolDir(t)
	id := mustIdentity(t, m, "vpn", "a")
	id.Epoch = maxEpoch
	if err := id.save(m, "d"); err != nil {
		t.Fatal(err)
	}
	if _, err := openIdentity(nil, m, "d", "vpn", "b", noSegments); err == nil || !strings.Contains(err.Error(), "last one") {
		t.Errorf("got %v", err)
	}
}

// If the power or the disk fails before any operation of Open that changes something, the next Open finds the old identity
// or the new one.
func TestIdentityPowerCut(t *testing.T) {
	for names := vfs.NamesStrict; names <= vfs.NamesKept; names++ {
		for seed := range uint64(10) {
			crash := vfs.Crash{Data: vfs.DataMixed, Names: names, Seed: seed}
			m := spoolDir(t)
			id := mustIdentity(t, m, "vpn", "a")
			var clones []*vfs.Mem
			mustIdentity(t, vfs.Inject(m, func(op vfs.Op) error {
				clones = append(clones, m.CrashClone(crash))
				return nil
			}), "vpn", "b")
			for i, c := range append(clones, m.CrashClone(crash)) {
				got, err := loadIdentity(c, "d")
				if err != nil || got.Spool != id.Spool || got.Epoch != 1 && got.Epoch != 2 || i == len(clones) && got.Epoch != 2 {
					t.Fatalf("%v, operation %d: %+v, %v", crash, i, got, err)
				}
			}
		}
	}
}

func TestIdentityNames(t *testing.T) {
	long := strings.Repeat("x", 65)
	for check, c := range map[*func(string) error]struct{ good, bad []string }{
		ptr(segment.CheckClass):       {[]string{"a", "vpn_2", long[:32]}, []string{"", "A", "a-b", "a b", "ä", "a/b", ".", long[:33]}},
		ptr(segment.CheckDestination): {[]string{"a", "idc-2_x", long[:64]}, []string{"", "A", "a.b", "a/b", "..", long}},
		ptr(checkInstance):            {[]string{"i-0123", "Host.example"}, []string{"", "a\xff", "a\nb", strings.Repeat("x", 256)}},
	} {
		for _, s := range c.good {
			if err := (*check)(s); err != nil {
				t.Errorf("%q: %v", s, err)
			}
		}
		for _, s := range c.bad {
			if err := (*check)(s); err == nil {
				t.Errorf("%q passes", s)
			}
		}
	}
	a, b := newSpoolID(identityTime), newSpoolID(identityTime.Add(time.Millisecond))
	if segment.CheckSpoolID(a) != nil || a >= b || a == newSpoolID(identityTime) {
		t.Errorf("ids %q %q", a, b)
	}
}

func ptr[T any](v T) *T { return &v }

// FuzzIdentity: whatever passes the seal and the checks can be saved and read again.
func FuzzIdentity(f *testing.F) {
	good, err := statefile.Seal(newIdentity("vpn", "host", identityTime))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := spoolDir(t)
		// Most random bytes have no seal: give them one.
		if statefile.Open(data, new(identity)) != nil {
			data = append(bytes.TrimRight(data, " \r\n\t}"), ",\n"...)
			data = append(data, statefile.SealOf(data)...)
		}
		if err := vfs.WriteFileAtomic(m, "d/spool.json", data); err != nil {
			t.Fatal(err)
		}
		id, err := loadIdentity(m, "d")
		if err != nil {
			return
		}
		if err := id.save(m, "d"); err != nil {
			t.Fatal(err)
		}
		if again, err := loadIdentity(m, "d"); err != nil || !reflect.DeepEqual(again, id) {
			t.Errorf("got %+v, want %+v, %v", again, id, err)
		}
	})
}
