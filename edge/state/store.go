package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/failpoint"
	"gnomon/edge/filesys"
)

// Kind is what a record is about.
type Kind string

// The kinds.
const (
	KindDesired Kind = "desired" // what the cloud wants of a shadow
	KindOutbox  Kind = "outbox"  // what a shadow reports
	KindPlan    Kind = "plan"    // what the planner remembers of an application

	KindOverride Kind = "override" // what somebody on the node made of an application
	KindAlarm    Kind = "alarm"    // the alarms of the node

	kindNode Kind = "node"
)

// Record is one record. Data is JSON.
type Record struct {
	Kind Kind
	Name string // of the shadow; "" is the classic one
	Data []byte
}

// ErrLocked: another agent uses the directory.
var ErrLocked = errors.New("the data directory is in use by another agent")

// keptBad bounds the files set aside.
const keptBad = 32

// maxEpoch keeps epochs exact in every JSON implementation.
const maxEpoch = 1 << 53

// Config of a Store.
type Config struct {
	Dir string           // created
	FS  filesys.FS       // default: Dir
	Now func() time.Time // default time.Now
	Log *slog.Logger
}

// Store is the records of one node. Its methods may be called concurrently.
type Store struct {
	fs   filesys.FS
	now  func() time.Time
	log  *slog.Logger
	lock *os.File

	epoch atomic.Uint64

	mu      sync.Mutex // one change at a time
	health  Health
	reserve reserve
}

// Open locks the directory, clears what a crash left, and raises the boot epoch.
// Whatever it finds there it can live with, also that nothing can be written for
// now (see Health); it fails only where it cannot read or lock.
func Open(cfg Config) (*Store, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Store{fs: cfg.FS, now: cfg.Now, log: cfg.Log}
	if s.fs == nil {
		if err := s.acquire(cfg.Dir); err != nil {
			return nil, err
		}
		s.fs = filesys.OS(cfg.Dir)
	}
	if err := s.begin(); err != nil {
		s.Close()
		return nil, fmt.Errorf("open state %s: %w", cfg.Dir, err)
	}
	return s, nil
}

func (s *Store) acquire(dir string) error {
	if err := clearWay(dir); err != nil {
		return err
	}
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if unwritable(err) {
		if f, err = os.Open(path); errors.Is(err, fs.ErrNotExist) { // good enough to lock
			f, err = os.Open(dir) // as nobody else can have made a lock either
		}
	}
	if errors.Is(err, unix.EISDIR) && os.Rename(path, filepath.Join(dir, badPrefix+"lock")) == nil {
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	}
	if err != nil {
		return err
	}
	// What an agent was killed over, between fork and exec of a shim, has its lock
	// for a moment longer.
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	for end := time.Now().Add(lockPatience); errors.Is(err, unix.EWOULDBLOCK) && time.Now().Before(end); {
		time.Sleep(lockPatience / 100)
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("%w: %s", ErrLocked, dir)
		}
		return err
	}
	s.lock = f
	return nil
}

// lockPatience is how long another agent may take to be gone.
const lockPatience = time.Second

func (s *Store) begin() error {
	names, err := s.fs.List()
	if err != nil {
		return err
	}
	for _, n := range names {
		if strings.HasSuffix(n, tmpSuffix) && !strings.HasPrefix(n, badPrefix) {
			if err := s.fs.Remove(n); err != nil && !errors.Is(err, unix.EROFS) {
				s.setAside(n, err) // it would be in the way of the next write
			}
		}
		s.reserve.held = s.reserve.held || n == reserveName
	}
	var held epochRecord
	if data, ok := s.read(kindNode, "epoch"); ok {
		if err := json.Unmarshal(data, &held); err != nil {
			s.setAside(fileName(kindNode, "epoch"), err)
		}
	}
	err = s.RaiseEpoch(held.BootEpoch + 1)
	if unwritable(err) {
		// What runs shall be looked after all the same, and somebody has to be told.
		s.epoch.Store(s.fleeting(held.BootEpoch + 1))
		s.log.Error("state cannot be written: what changes is lost with the next start", "error", err)
		return nil
	}
	return err
}

type epochRecord struct {
	BootEpoch uint64 `json:"bootEpoch"`
}

// BootEpoch returns the number of this start. It orders this node's reports.
func (s *Store) BootEpoch() uint64 { return s.epoch.Load() }

// RaiseEpoch makes the boot epoch at least e, and where nothing can be written more. It is for a node that lost its
// disk and finds that the cloud remembers more starts than it does itself.
func (s *Store) RaiseEpoch(e uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e = min(e, maxEpoch)
	if e <= s.epoch.Load() {
		return nil
	}
	data, err := json.Marshal(epochRecord{e})
	if err != nil {
		return err
	}
	err = s.put([]Record{{kindNode, "epoch", data}})
	if unwritable(err) && s.epoch.Load() > 0 {
		e, err = s.fleeting(e), nil
	}
	if err == nil {
		s.epoch.Store(e)
	}
	return err
}

// fleeting is the epoch to use in place of e when nothing can be written. The next
// start may take up to e, which must not have been used; and by the time no two
// such starts have the same. If the clock is wrong, the cloud refuses the reports as
// stale, and the epoch is raised.
func (s *Store) fleeting(e uint64) uint64 {
	return min(max(e+1, uint64(max(0, s.now().Unix()))), maxEpoch)
}

// Close releases the directory.
func (s *Store) Close() error {
	if s.lock == nil {
		return nil
	}
	return s.lock.Close()
}

// Put writes records; on return they are on disk. After an error any of them may
// be, each whole.
func (s *Store) Put(records ...Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.put(records)
}

func (s *Store) put(records []Record) error {
	if len(records) == 0 {
		return nil
	}
	err := s.writeAll(records)
	if full(err) && s.release() {
		err = s.writeAll(records)
	}
	s.note(err)
	if err == nil {
		s.refill()
	}
	return err
}

func (s *Store) writeAll(records []Record) error {
	for _, r := range records {
		name := fileName(r.Kind, r.Name)
		if err := s.write(name, seal(name, r.Data)); err != nil {
			return fmt.Errorf("write %s of %q: %w", r.Kind, r.Name, err)
		}
	}
	return s.sync()
}

// sync makes names durable.
func (s *Store) sync() error {
	if err := s.fs.Sync(); err != nil {
		return fmt.Errorf("sync state directory: %w", err)
	}
	return failpoint.Hit(failpoint.StateDone)
}

// write replaces a file; its new name is on disk only after sync.
func (s *Store) write(name string, content []byte) error {
	err := failpoint.Hit(failpoint.StateBegin)
	if err != nil {
		return err
	}
	f, err := s.fs.Create(name + tmpSuffix)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = failpoint.Hit(failpoint.StateWritten)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = failpoint.Hit(failpoint.StateSynced)
	}
	if err == nil {
		err = s.fs.Rename(name+tmpSuffix, name)
	}
	if err != nil {
		_ = s.fs.Remove(name + tmpSuffix) // a full disk shall not stay full because of us
		return err
	}
	return failpoint.Hit(failpoint.StateRenamed)
}

// Delete removes records; those that are not there are no error.
func (s *Store) Delete(kind Kind, names ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.delete(kind, names)
	s.note(err)
	return err
}

func (s *Store) delete(kind Kind, names []string) error {
	for _, n := range names {
		if err := s.fs.Remove(fileName(kind, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("delete %s of %q: %w", kind, n, err)
		}
	}
	return s.sync()
}
