package day

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"gnomon/edge/state"
)

// disk is a node's, in memory. When the power goes it keeps what was synced, and of
// the rest what chance leaves of it.
type disk struct {
	mu      sync.Mutex
	random  *rand.Rand
	boot    int              // who opened it before the power went can't use it any more
	files   map[string]*file // as programs see them
	durable map[string]*file // names as of the last sync
}

type file struct{ content, synced []byte }

func newDisk(seed uint64) *disk {
	return &disk{random: rand.New(rand.NewPCG(seed, 2)), files: make(map[string]*file), durable: make(map[string]*file)}
}

var errPower = errors.New("the power is gone")

// crash takes the power away, and brings it back.
func (d *disk) crash() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.boot++
	left := maps.Clone(d.durable)
	for _, name := range slices.Sorted(maps.Keys(d.files)) { // names that are new may be there
		if left[name] == nil && d.random.IntN(2) == 0 {
			left[name] = d.files[name]
		}
	}
	for name, f := range left {
		tail := f.content[min(len(f.synced), len(f.content)):]
		kept := append(slices.Clone(f.synced), tail[:d.random.IntN(len(tail)+1)]...)
		left[name] = &file{kept, kept}
	}
	d.files, d.durable = left, maps.Clone(left)
}

// mount is the disk for whoever runs now.
func (d *disk) mount() state.FS {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &mounted{d, d.boot}
}

// mounted implements state.FS.
type mounted struct {
	disk *disk
	boot int
}

// with does something on the disk while there is power.
func (m *mounted) with(do func(d *disk) error) error {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	if m.boot != m.disk.boot {
		return errPower
	}
	return do(m.disk)
}

func (m *mounted) List() (names []string, err error) {
	err = m.with(func(d *disk) error { names = slices.Sorted(maps.Keys(d.files)); return nil })
	return names, err
}

func (m *mounted) Read(name string) (content []byte, err error) {
	err = m.with(func(d *disk) error {
		f := d.files[name]
		if f == nil {
			return fmt.Errorf("read %s: %w", name, fs.ErrNotExist)
		}
		content = slices.Clone(f.content)
		return nil
	})
	return content, err
}

func (m *mounted) Create(name string) (state.File, error) {
	f := new(file)
	err := m.with(func(d *disk) error { d.files[name] = f; return nil })
	return &handle{m, f}, err
}

func (m *mounted) Rename(from, to string) error {
	return m.with(func(d *disk) error {
		if d.files[from] == nil {
			return fmt.Errorf("rename %s: %w", from, fs.ErrNotExist)
		}
		d.files[to] = d.files[from]
		delete(d.files, from)
		return nil
	})
}

func (m *mounted) Remove(name string) error {
	return m.with(func(d *disk) error {
		if d.files[name] == nil {
			return fmt.Errorf("remove %s: %w", name, fs.ErrNotExist)
		}
		delete(d.files, name)
		return nil
	})
}

func (m *mounted) Sync() error {
	return m.with(func(d *disk) error { d.durable = maps.Clone(d.files); return nil })
}

// handle is an open file.
type handle struct {
	*mounted
	file *file
}

func (h *handle) Write(p []byte) (int, error) {
	err := h.with(func(*disk) error { h.file.content = append(h.file.content, p...); return nil })
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (h *handle) Sync() error {
	return h.with(func(*disk) error { h.file.synced = slices.Clone(h.file.content); return nil })
}

func (h *handle) Close() error { return nil }
