package segment

import (
	"bytes"
	"io"
	"testing"
)

func TestSmoke(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		m := newMade(t, testHeader(), 4096)
		for i := range 50 {
			m.records(1+i%7, 30*i, int64(len(m.data)))
			m.ledger(t, testLedger(), 0)
		}
		if sealed {
			m.seal(t)
		}
		r := m.open(t, ReadOptions{})
		want := m.header.First
		for {
			seq, rec, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			w := testRecord(seq, 8)
			if seq != want || rec.Src != w.Src || rec.Time != w.Time || !bytes.Equal(rec.Data[:8], w.Data[:8]) {
				t.Fatal(seq, want, rec, w)
			}
			want++
		}
		if want != m.next {
			t.Fatal(want, m.next)
		}
		res, err := Scan(bytes.NewReader(m.data), int64(len(m.data)), ReadOptions{})
		if err != nil || res.Next != m.next || len(res.Damage) > 0 || res.Sealed != sealed {
			t.Fatal(res, err)
		}
	}
}
