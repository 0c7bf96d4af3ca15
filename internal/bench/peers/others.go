package main

import (
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftwal "github.com/hashicorp/raft-wal"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
	"github.com/tidwall/wal"
	etcdwal "go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
)

// grouped is a log without a group commit, inside the simplest one.
type grouped struct {
	*group
	close func() error
}

func (g grouped) Append(batch [][]byte) error { return g.append(batch) }
func (g grouped) Close() error                { return g.close() }

// newEtcd opens etcd's wal. Save syncs whenever there are entries. Entries and their data are reused.
func newEtcd(dir string, _ shape) (contestant, error) {
	w, err := etcdwal.Create(zap.NewNop(), filepath.Join(dir, "wal"), nil)
	if err != nil {
		return nil, err
	}
	var entries []*raftpb.Entry
	index, term := uint64(0), uint64(1)
	kind := raftpb.EntryNormal
	return grouped{newGroup(func(batches [][][]byte) error {
		n := 0
		for _, b := range batches {
			for _, rec := range b {
				if n == len(entries) {
					entries = append(entries, &raftpb.Entry{Term: &term, Index: new(uint64), Type: &kind})
				}
				index++
				*entries[n].Index, entries[n].Data = index, rec
				n++
			}
		}
		return w.Save(&raftpb.HardState{}, entries[:n])
	}), w.Close}, nil
}

// newRaftWAL opens raft-wal. StoreLogs syncs. Segments of 64 MiB are its default.
func newRaftWAL(dir string, _ shape) (contestant, error) {
	w, err := raftwal.Open(dir, raftwal.WithSegmentSize(segmentBytes), raftwal.WithLogger(hclog.NewNullLogger()))
	if err != nil {
		return nil, err
	}
	var logs []*raft.Log
	index := uint64(0)
	return grouped{newGroup(func(batches [][][]byte) error {
		n := 0
		for _, b := range batches {
			for _, rec := range b {
				if n == len(logs) {
					logs = append(logs, &raft.Log{Term: 1})
				}
				index++
				logs[n].Index, logs[n].Data = index, rec
				n++
			}
		}
		return w.StoreLogs(logs[:n])
	}), w.Close}, nil
}

// newPrometheus opens Prometheus' wlog. Log writes, and Sync makes it durable.
func newPrometheus(dir string, _ shape) (contestant, error) {
	w, err := wlog.NewSize(promslog.NewNopLogger(), nil, filepath.Join(dir, "wal"), segmentBytes, compression.None)
	if err != nil {
		return nil, err
	}
	var all [][]byte
	return grouped{newGroup(func(batches [][][]byte) error {
		all = all[:0]
		for _, b := range batches {
			all = append(all, b...)
		}
		if err := w.Log(all...); err != nil {
			return err
		}
		return w.Sync()
	}), w.Close}, nil
}

// newTidwall opens tidwall/wal. WriteBatch syncs.
func newTidwall(dir string, _ shape) (contestant, error) {
	w, err := wal.Open(filepath.Join(dir, "wal"), &wal.Options{SegmentSize: segmentBytes, NoCopy: true})
	if err != nil {
		return nil, err
	}
	var batch wal.Batch
	index := uint64(0)
	return grouped{newGroup(func(batches [][][]byte) error {
		batch.Clear()
		for _, b := range batches {
			for _, rec := range b {
				index++
				batch.Write(index, rec)
			}
		}
		return w.WriteBatch(&batch)
	}), w.Close}, nil
}
