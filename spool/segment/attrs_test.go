package segment

import (
	"bytes"
	"fmt"
	"maps"
	"strings"
	"testing"
)

func TestNewAttrs(t *testing.T) {
	if a, err := NewAttrs(nil); a != nil || err != nil || a.Len() != 0 || a.Size() != 0 || a.String() != "" || !a.Equal(nil) || a.Equal(attrsA) {
		t.Errorf("no pairs: %v, %v", a, err)
	}
	pairs := map[string]string{"b": `say "x"`, "a.b-c_9": "", "long": strings.Repeat("ä", 900)}
	a, err := NewAttrs(pairs)
	if err != nil {
		t.Fatal(err)
	}
	if got := maps.Collect(a.All()); !maps.Equal(got, pairs) || a.Len() != 3 {
		t.Errorf("%q", got)
	}
	if s := attrsA.String(); s != `listener="vpn-1" tls.server_name="in.example.net"` {
		t.Error(s)
	}
	if v, ok := a.Get("b"); v != `say "x"` || !ok {
		t.Errorf("%q, %v", v, ok)
	}
	if v, ok := a.Get("c"); v != "" || ok {
		t.Errorf("%q, %v", v, ok)
	}
	for range a.All() {
		break // the iterator stops
	}
	again, err := NewAttrs(maps.Collect(a.All()))
	if err != nil || !a.Equal(again) || a.Equal(attrsA) || a.Equal(nil) {
		t.Errorf("%v, %v", again, err)
	}
	many := map[string]string{}
	for i := range MaxAttrs + 1 {
		many[fmt.Sprint("k", i)] = ""
	}
	for want, pairs := range map[string]map[string]string{
		`key "" is not`:                        {"": "x"},
		`key "Ab" is not`:                      {"Ab": "x"},
		`key "a b" is not`:                     {"a b": "x"},
		`is not 1 to 64 characters`:            {strings.Repeat("k", 65): "x"},
		`k="a\x00b" is not UTF-8 text`:         {"k": "a\x00b"},
		`k="\x7f" is not UTF-8 text`:           {"k": "\x7f"},
		`k="\xff" is not UTF-8 text`:           {"k": "\xff"},
		`33 attributes exceed 32`:              many,
		`attributes of 2001 bytes exceed 2000`: {"k": strings.Repeat("v", MaxAttrsSize-3)},
	} {
		pairs["ok"], pairs["x y"] = "", ""
		if want[0] == 'a' || want[0] == '3' {
			delete(pairs, "ok")
			delete(pairs, "x y")
		}
		if a, err := NewAttrs(pairs); a != nil || err == nil || !strings.Contains(err.Error(), want) || pairs["ok"] != "" || len(pairs) == 3 && !strings.Contains(err.Error(), `"x y"`) {
			t.Errorf("%s: %v, %v", want, a, err)
		}
	}
	if a, err := NewAttrs(map[string]string{"k": strings.Repeat("v", MaxAttrsSize-4)}); err != nil || a.Size() != MaxAttrsSize+4 {
		t.Errorf("%v, %v", a.Size(), err)
	}
}

// TestAttrsOncePerBlock: a block has each set once, and a record with the same set as the one before it needs no further bytes.
func TestAttrsOncePerBlock(t *testing.T) {
	var table AttrTable
	var b []byte
	add := func(a *Attrs) int {
		r := Record{Data: []byte("x"), Attrs: a}
		n, want := len(b), RecordSize(1, r.Src)+table.Size(a)
		b = table.AppendRecord(b, &r)
		if len(b)-n != want {
			t.Errorf("%v: %d bytes, Size says %d", a, len(b)-n, want)
		}
		return len(b) - n - RecordSize(1, r.Src)
	}
	same := mustAttrs(maps.Collect(attrsA.All())) // of another connection
	for i, c := range []struct {
		a    *Attrs
		more int
	}{
		{nil, 0},
		{new(Attrs), 0},
		{attrsA, attrsA.Size()},
		{attrsA, 0},
		{same, 0},
		{nil, 0},
		{attrsA, 0},
		{attrsB, attrsB.Size()},
		{same, 4},
		{attrsB, 4},
		{attrsB, 0},
	} {
		if got := add(c.a); got != c.more {
			t.Errorf("record %d: %d bytes for attributes, want %d", i, got, c.more)
		}
	}
	if n := bytes.Count(b, []byte(attrsA.enc)); n != 1 {
		t.Errorf("the block has the set %d times", n)
	}
	table.Reset()
	if got := add(attrsB); got != attrsB.Size() {
		t.Errorf("in the next block: %d bytes", got)
	}
}

// TestAttrsPlain: the encoding of records without attributes has not changed.
func TestAttrsPlain(t *testing.T) {
	var table AttrTable
	var none *Attrs
	if a := new(Attrs); !a.Equal(none) || !none.Equal(a) || a.Size() != 0 {
		t.Error("the zero value is not the empty set")
	}
	for seq := range uint64(18) {
		r := testRecord(seq, 50)
		r.Attrs = nil
		if seq >= 9 {
			r.Attrs = new(Attrs)
		}
		b := table.AppendRecord(nil, &r)
		if !bytes.Equal(b, AppendRecord(nil, &r)) || b[3] >= kindAttrs || len(b) != RecordSize(len(r.Data), r.Src) {
			t.Errorf("record %d: % x", seq, b)
		}
	}
}

// TestLargestBlock: the largest record with the largest set of attributes fits into a block.
func TestLargestBlock(t *testing.T) {
	m := newMade(t, testHeader(), 16)
	r := testRecord(1000, MaxRecord)
	r.Data, r.Src = make([]byte, MaxRecord), testRecord(1, 8).Src
	r.Attrs = mustAttrs(map[string]string{"k": strings.Repeat("v", MaxAttrsSize-4)})
	p := AppendRecord(nil, &r)
	if len(p)+BlockHeaderSize != MaxBlock || len(p) != r.Size() {
		t.Errorf("%d bytes, Size %d, MaxBlock %d", len(p)+BlockHeaderSize, r.Size(), MaxBlock)
	}
	m.add(RecordBlock, 1, 0, p)
	m.seal(t)
	_, got, err := m.open(t, ReadOptions{}).Next()
	if err != nil || len(got.Data) != MaxRecord || !got.Attrs.Equal(r.Attrs) {
		t.Errorf("%d bytes, %v", len(got.Data), err)
	}
}

// TestAttrsMalformed: a block whose checksum holds, with attributes that no writer makes, is damage as a whole.
func TestAttrsMalformed(t *testing.T) {
	item := func(kind byte, n int, enc string) string {
		return string([]byte{byte(n), byte(n >> 8), byte(n >> 16), kind}) + enc
	}
	set := func(enc string) string { return item(kindSet, len(enc), enc) }
	const plain = "\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00"
	const attrs = "\x00\x00\x00\x10" + "\x00\x00\x00\x00\x00\x00\x00\x00"
	const ab = "\x01\x01\x00ab"
	good := set(ab) + attrs + plain + item(kindUse, 0, "") + attrs
	for what, c := range map[string]struct {
		payload string
		count   uint32
		ok      bool
	}{
		"good":                   {good, 3, true},
		"no set":                 {attrs, 1, false},
		"cut item":               {"\x00\x00\x20", 1, false},
		"cut set":                {item(kindSet, 6, ab) + attrs, 1, false},
		"set alone":              {set(ab), 1, false},
		"set at the end":         {set(ab) + attrs + set(ab), 1, false},
		"set before a plain one": {set(ab) + plain, 1, false},
		"two sets in a row":      {set(ab) + set(ab) + attrs, 1, false},
		"use before a set":       {item(kindUse, 0, "") + attrs, 1, false},
		"use beyond":             {set(ab) + attrs + item(kindUse, 1, "") + attrs, 2, false},
		"empty set":              {set("") + attrs, 1, false},
		"unsorted":               {set("\x01\x00\x00b\x01\x00\x00a") + attrs, 1, false},
		"doubled":                {set("\x01\x00\x00a\x01\x00\x00a") + attrs, 1, false},
		"no key":                 {set("\x00\x01\x00x") + attrs, 1, false},
		"bad key":                {set("\x01\x00\x00A") + attrs, 1, false},
		"bad value":              {set("\x01\x01\x00a\x07") + attrs, 1, false},
		"no UTF-8":               {set("\x01\x01\x00a\xff") + attrs, 1, false},
		"cut value":              {set("\x01\x09\x00ab") + attrs, 1, false},
		"too large":              {set("\x01\xce\x07a"+strings.Repeat("v", 1998)) + attrs, 1, false},
		"unknown item":           {item(0x22, 0, "") + attrs, 1, false},
		"unknown kind":           {set(ab) + "\x00\x00\x00\x12\x00\x00\x00\x00\x00\x00\x00\x00", 1, false},
		"many sets":              {strings.Repeat(set(ab)+attrs, maxSets), maxSets, true},
		"too many sets":          {strings.Repeat(set(ab)+attrs, maxSets+1), maxSets + 1, false},
	} {
		if got := wellFormed([]byte(c.payload), c.count); got != c.ok {
			t.Errorf("%s: %v", what, got)
		}
		m := newMade(t, testHeader(), 16)
		m.add(RecordBlock, 1, 0, AppendRecord(nil, &Record{Data: []byte("before")}))
		off := int64(len(m.data))
		block := append(make([]byte, BlockHeaderSize), c.payload...)
		if int64(c.count) > int64(len(c.payload))/recordHeaderSize {
			continue // the header says so already
		}
		Stamp(block, BlockHeader{Generation: m.header.Generation, Offset: off, First: m.next, Count: c.count, Type: RecordBlock})
		m.data = append(m.data, append(block, make([]byte, Align(len(block))-len(block))...)...)
		m.next += uint64(c.count)
		m.add(RecordBlock, 1, int64(len(m.data)), AppendRecord(nil, &Record{Data: []byte("after")}))
		r := m.open(t, ReadOptions{})
		records, damaged := 0, 0
		for {
			_, rec, err := r.Next()
			if _, is := err.(*DamageError); is {
				damaged++
				continue
			}
			if err != nil {
				break
			}
			if records++; rec.Attrs != nil {
				if v, _ := rec.Attrs.Get("a"); v != "b" {
					t.Errorf("%s: %v", what, rec.Attrs)
				}
			}
		}
		want := 2
		if c.ok {
			want += int(c.count)
		}
		if records != want || (damaged > 0) == c.ok {
			t.Errorf("%s: %d records, %d times damage", what, records, damaged)
		}
	}
}

// TestAttrsShared: the records of a segment share one set for each set that there is, across blocks, and across Seek.
func TestAttrsShared(t *testing.T) {
	m := newMade(t, testHeader(), 16)
	for range 50 {
		m.records(40, 2000, 0)
	}
	m.seal(t)
	r := m.open(t, ReadOptions{})
	seen := map[*Attrs]bool{}
	for seq := uint64(1000); seq < 3000; seq += 3 {
		if err := r.Seek(seq); err != nil {
			t.Fatal(err)
		}
		got, rec, err := r.Next()
		if err != nil || got != seq || !rec.Attrs.Equal(testAttrs(seq)) {
			t.Fatalf("%d, %v, %v; want %v", got, rec.Attrs, err, testAttrs(seq))
		}
		seen[rec.Attrs] = true
	}
	if len(seen) != 3 { // with nil
		t.Errorf("%d sets", len(seen))
	}
	// The sets remembered from hostile files are bounded.
	var a attrReader
	for i := range 100_000 {
		a.of(fmt.Appendf(nil, "\x01\x64\x00k%0100d", i))
	}
	if n := len(a.known) * 104; n > maxKnown {
		t.Errorf("%d bytes are remembered", n)
	}
}

// FuzzAttrs: an accepted set is the encoding by NewAttrs of its pairs, byte for byte.
func FuzzAttrs(f *testing.F) {
	f.Add([]byte(attrsA.enc))
	f.Add([]byte(attrsB.enc))
	f.Fuzz(func(t *testing.T, enc []byte) {
		if !isAttrs(enc) {
			return
		}
		a := &Attrs{string(enc)}
		again, err := NewAttrs(maps.Collect(a.All()))
		if err != nil || !again.Equal(a) {
			t.Fatalf("%v: %v, %v", a, again, err)
		}
	})
}

// FuzzBlock: blocks of any contents are refused or read to their end, with attributes that are sets.
func FuzzBlock(f *testing.F) {
	var table AttrTable
	var b []byte
	for seq := range uint64(9) {
		r := testRecord(seq, 10)
		b = table.AppendRecord(b, &r)
	}
	f.Add(b, uint32(9))
	f.Fuzz(func(t *testing.T, payload []byte, count uint32) {
		if count == 0 || int64(count) > int64(len(payload))/recordHeaderSize || !wellFormed(payload, count) {
			return
		}
		m := newMade(t, testHeader(), 16)
		m.add(RecordBlock, int(count), 0, payload)
		r := m.open(t, ReadOptions{})
		var records []Record
		for range count {
			_, rec, err := r.Next()
			if err != nil || rec.Attrs != nil && !isAttrs([]byte(rec.Attrs.enc)) {
				t.Fatalf("%v, %v", rec.Attrs, err)
			}
			records = append(records, rec)
		}
		// Written again by this package and read again, they are the same.
		table, again := AttrTable{}, []byte(nil)
		for i := range records {
			again = table.AppendRecord(again, &records[i])
		}
		if !wellFormed(again, count) || len(again) > len(payload) {
			t.Fatalf("% x\nwritten again % x", payload, again)
		}
	})
}
