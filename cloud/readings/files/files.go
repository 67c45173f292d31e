// Package files writes readings into files of JSON lines, for replicas that keep
// nothing of their own: somebody else takes the files away, into a database or a
// queue.
//
// It promises that what was reported done is in a file, that files whose names end
// in .ndjson are whole and never touched again, and that the directory doesn't
// outgrow its limit: beyond it nothing is taken until files have been taken away. A
// directory belongs to one sink; who comes second is refused, and touches nothing. A
// row may be in two files, because nodes tell again what they don't know to be
// stored; node, policy, meter, item and at tell it apart.
//
// It never reads its files back, and never deletes one.
package files

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"gnomon/cloud/readings"
	"gnomon/cloud/store/group"
	"gnomon/schema/reading"
)

// ErrFull: the directory is at its limit.
var ErrFull = errors.New("directory of readings is full: take files away")

// ErrInUse: another process writes to the directory.
var ErrInUse = errors.New("another gnomon cloud writes readings there; give each replica a --readings-dir of its own")

// Config says where files go. Zero fields have the defaults given.
type Config struct {
	Dir       string
	FileBytes int64         // a file is closed from then on; default 64 MiB
	FileAge   time.Duration // or after so long; default 5m
	DirBytes  int64         // of all files; default 10 GiB
	Queue     int           // batches waiting; default readings.DefaultBatches
	Now       func() time.Time
	Log       *slog.Logger
}

// Sink is a readings.Sink. Run writes; until it runs, Submit only queues.
type Sink struct {
	cfg   Config
	group *group.Group[change]
	lock  *os.File // of the directory, for as long as the sink is open

	file    *os.File // the one that is being written; nil: none
	size    int64
	opened  time.Time
	number  int
	waiting int64 // bytes in whole files, as last counted
}

var _ readings.Sink = (*Sink)(nil)

type change struct {
	lines []byte
	done  func(error)
}

const (
	whole = ".ndjson"
	part  = ".part"
)

// Open prepares the directory. A file that was not closed is cut where its last
// whole line ends, and closed.
func Open(cfg Config) (*Sink, error) {
	if cfg.FileBytes == 0 {
		cfg.FileBytes = 64 << 20
	}
	if cfg.FileAge == 0 {
		cfg.FileAge = 5 * time.Minute
	}
	if cfg.DirBytes == 0 {
		cfg.DirBytes = 10 << 30
	}
	if cfg.Queue == 0 {
		cfg.Queue = readings.DefaultBatches
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	size := func(c change) int { return len(c.lines) }
	s := &Sink{cfg: cfg, group: group.New(group.Config[change]{Queue: cfg.Queue, Bytes: maxGroup, Size: size, Closed: readings.ErrClosed})}
	if err := os.MkdirAll(cfg.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("directory of readings: %w", err)
	}
	if err := s.begins(); err != nil {
		return nil, fmt.Errorf("directory of readings: %w", errors.Join(err, s.Close()))
	}
	return s, nil
}

// begins takes the directory, and closes what was left there.
func (s *Sink) begins() error {
	var err error
	// The dot keeps it from those who take everything away.
	if s.lock, err = os.OpenFile(filepath.Join(s.cfg.Dir, ".lock"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	err = syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("%s: %w", s.cfg.Dir, ErrInUse)
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", s.lock.Name(), err)
	}
	left, err := filepath.Glob(filepath.Join(s.cfg.Dir, "*"+part))
	if err != nil {
		return err
	}
	for _, name := range left {
		if err := recoverFile(name); err != nil {
			return err
		}
	}
	return nil
}

// recoverFile closes a file that a process before has left. What is in it may be in
// memory alone as yet, and a whole file is whole on disk.
func recoverFile(name string) error {
	data, err := os.ReadFile(name) //nolint:gosec // the operator's directory
	if err != nil {
		return err
	}
	end := bytes.LastIndexByte(data, '\n') + 1
	if end == 0 {
		return os.Remove(name)
	}
	f, err := os.OpenFile(name, os.O_WRONLY, 0) //nolint:gosec // the operator's directory
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(int64(end)), f.Sync(), f.Close()); err != nil {
		return err
	}
	return finish(name)
}

// finish gives a file the name of a whole one.
func finish(name string) error {
	if err := os.Rename(name, strings.TrimSuffix(name, part)+whole); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the operator's directory
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// line is a row as it is written.
type line struct {
	Node    string                    `json:"node"`
	Policy  string                    `json:"policy"`
	Version uint64                    `json:"version"`
	Meter   string                    `json:"meter"`
	At      time.Time                 `json:"at"`
	Arrived time.Time                 `json:"arrived"`
	Stored  time.Time                 `json:"stored"`
	Source  reading.Source            `json:"source"`
	Values  map[string]reading.Number `json:"values,omitempty"`
	Missing map[string]string         `json:"missing,omitempty"`
}

func layOut(t readings.Told) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	b := t.Batch
	for i := range b.Rows {
		r := &b.Rows[i]
		l := line{Node: t.Node, Policy: b.Policy, Version: b.Version, Meter: r.Meter, At: r.At, Arrived: r.Arrived, Stored: t.Stored.UTC(), Source: r.Source}
		for k, v := range r.Values {
			switch v.State {
			case reading.Good:
				if l.Values == nil {
					l.Values = make(map[string]reading.Number, len(b.Items))
				}
				l.Values[b.Items[k]] = v.Number
			case reading.Missing:
				if l.Missing == nil {
					l.Missing = make(map[string]string)
				}
				l.Missing[b.Items[k]] = v.Reason
			}
		}
		if err := enc.Encode(l); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

// Submit implements readings.Sink.
func (s *Sink) Submit(ctx context.Context, t readings.Told, done func(error)) error {
	lines, err := layOut(t)
	if err != nil {
		return err
	}
	return s.group.Submit(ctx, change{lines, done})
}

// maxGroup bounds the bytes that are written with one sync.
const maxGroup = 4 << 20

// Run writes what is submitted until ctx ends, then what is still queued, and closes
// the file.
func (s *Sink) Run(ctx context.Context) error {
	tick := time.NewTicker(min(s.cfg.FileAge, time.Minute))
	defer tick.Stop()
	s.group.Run(ctx, group.Work[change]{Commit: s.commit, Tick: tick.C, Ticked: func() { s.rotate(false) }})
	s.rotate(true)
	return nil
}

func (s *Sink) commit(all []change) {
	err := s.write(all)
	if err != nil {
		s.cfg.Log.Error("readings are not written", "dir", s.cfg.Dir, "error", err)
		s.abandon()
	}
	for _, c := range all {
		c.done(err)
	}
	s.rotate(false)
}

func (s *Sink) write(all []change) error {
	if s.file == nil {
		if err := s.begin(); err != nil {
			return err
		}
	}
	if s.waiting+s.size >= s.cfg.DirBytes {
		if s.count(); s.waiting+s.size >= s.cfg.DirBytes {
			return fmt.Errorf("%w: %s has %d bytes, the limit is %d", ErrFull, s.cfg.Dir, s.waiting+s.size, s.cfg.DirBytes)
		}
	}
	out := bufio.NewWriterSize(s.file, 256<<10)
	for _, c := range all {
		n, err := out.Write(c.lines)
		s.size += int64(n)
		if err != nil {
			return err
		}
	}
	return errors.Join(out.Flush(), s.file.Sync())
}

// begin opens the next file, with a name that no other has.
func (s *Sink) begin() error {
	s.opened = s.cfg.Now()
	s.number++
	name := fmt.Sprintf("readings-%s-%06d%s", s.opened.UTC().Format("20060102T150405.000Z"), s.number, part)
	f, err := os.OpenFile(filepath.Join(s.cfg.Dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640) //nolint:gosec // somebody else takes it away
	if err != nil {
		return err
	}
	s.file, s.size = f, 0
	s.count()
	return syncDir(s.cfg.Dir)
}

// count looks how much waits to be taken away.
func (s *Sink) count() {
	s.waiting = 0
	names, _ := filepath.Glob(filepath.Join(s.cfg.Dir, "*"+whole))
	for _, name := range names {
		if info, err := os.Stat(name); err == nil {
			s.waiting += info.Size()
		}
	}
}

// rotate closes the file if it is due, or the end.
func (s *Sink) rotate(end bool) {
	if s.file == nil || !end && s.size < s.cfg.FileBytes && s.cfg.Now().Sub(s.opened) < s.cfg.FileAge {
		return
	}
	name := s.file.Name()
	err := s.file.Close()
	s.file = nil
	if s.size == 0 {
		err = errors.Join(err, os.Remove(name))
	} else {
		err = errors.Join(err, finish(name))
	}
	if err != nil {
		s.cfg.Log.Error("a file of readings is not closed", "file", name, "error", err)
	}
}

// abandon leaves a file after a failed write as far as its lines are whole: what is
// in it may or may not have been told, and is told again.
func (s *Sink) abandon() {
	if s.file == nil {
		return
	}
	name := s.file.Name()
	err := errors.Join(s.file.Close(), recoverFile(name))
	s.file, s.size = nil, 0
	if err != nil {
		s.cfg.Log.Error("a file of readings is not closed", "file", name, "error", err)
	}
}

// Close leaves the directory to others. Run must have ended, or never begun.
func (s *Sink) Close() error {
	if s.lock == nil {
		return nil
	}
	return s.lock.Close()
}
