// Package crashfs is a directory in memory on a disk that loses its power, fails,
// is full or refuses, when a test says so.
//
// It promises that what survives a power cut is what a file system may leave: of the
// names that changed since the last sync any subset is as it was before, and content
// that was not synced may be cut short anywhere, or be zeros or rubbish from there
// on. Chance decides, by a seed. Whoever mounted it before the cut reaches it no more.
//
// It is never part of a program that users run.
package crashfs

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"gnomon/edge/filesys"
)

// ErrOff is what operations meet from the power cut on.
var ErrOff = errors.New("the power is gone")

// Disk is safe for concurrent use.
type Disk struct {
	mu      sync.Mutex
	random  *rand.Rand
	boot    int              // who mounted it before the last cut can't use it any more
	left    int              // operations until something happens; < 0: never
	failure error            // what the operation meets then, once; nil: the power goes
	refusal error            // what every change meets
	spoiled map[string]error // what reading a file meets
	room    int              // bytes; < 0: endless
	off     bool
	files   map[string]*file // as running programs see it
	durable map[string]*file // names as of the last sync
	pending []func(map[string]*file)
}

type file struct{ content, synced []byte }

// New returns an empty disk.
func New(seed uint64) *Disk {
	return &Disk{random: rand.New(rand.NewPCG(seed, 1)), left: -1, room: -1, files: map[string]*file{}, durable: map[string]*file{}, spoiled: map[string]error{}}
}

// Mount is the directory for whoever runs until the next Restart.
func (d *Disk) Mount() filesys.FS {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &mounted{d, d.boot}
}

// Trouble lets so many operations succeed; the next one fails with failure, or takes
// the power away where that is nil.
func (d *Disk) Trouble(after int, failure error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left, d.failure = after, failure
}

// Refuse lets every change fail, until err is nil. What is there can be read.
func (d *Disk) Refuse(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refusal = err
}

// Spoil lets every reading of the file with that name fail, until err is nil.
func (d *Disk) Spoil(name string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.spoiled[name] = err
}

// Limit leaves room for so many bytes more; a negative number: for any.
func (d *Disk) Limit(more int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room = -1
	if more >= 0 {
		d.room = d.used() + more
	}
}

func (d *Disk) used() (n int) {
	for _, f := range d.files {
		n += len(f.content)
	}
	return n
}

// Off tells whether the power is gone.
func (d *Disk) Off() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.off
}

// Files is what running programs see.
func (d *Disk) Files() map[string][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make(map[string][]byte, len(d.files))
	for name, f := range d.files {
		all[name] = slices.Clone(f.content)
	}
	return all
}

// Plant makes a file that is there, and survives.
func (d *Disk) Plant(name string, content []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	content = slices.Clip(content)
	f := &file{content, content}
	d.files[name], d.durable[name] = f, f
}

// Restart takes the power away where it is still there, and brings it back.
func (d *Disk) Restart() {
	d.mu.Lock()
	defer d.mu.Unlock()
	names := maps.Clone(d.durable)
	for _, change := range d.pending {
		if d.random.IntN(2) == 0 {
			change(names)
		}
	}
	d.files = make(map[string]*file, len(names))
	for _, name := range slices.Sorted(maps.Keys(names)) {
		kept := slices.Clip(d.torn(names[name]))
		d.files[name] = &file{kept, kept}
	}
	d.boot++
	d.durable, d.pending, d.off, d.left, d.failure = maps.Clone(d.files), nil, false, -1, nil
}

// torn is what is left of a file's content.
func (d *Disk) torn(f *file) []byte {
	kept := slices.Clone(f.synced)
	if len(f.content) <= len(kept) || !slices.Equal(f.content[:len(kept)], kept) {
		return kept
	}
	tail := slices.Clone(f.content[len(kept):])
	from := d.random.IntN(len(tail) + 1)
	switch d.random.IntN(3) {
	case 0:
		tail = tail[:from]
	case 1:
		clear(tail[from:])
	case 2:
		for i := range tail[from:] {
			tail[from+i] = byte(d.random.Uint32())
		}
	}
	return append(kept, tail...)
}

// step counts an operation; an error means that it did not happen.
func (d *Disk) step() error {
	switch {
	case d.refusal != nil:
		return d.refusal
	case d.left < 0:
		return nil
	case d.left > 0:
		d.left--
		return nil
	}
	d.left = -1
	if d.failure != nil {
		return d.failure
	}
	d.off = true
	return ErrOff
}

// change changes names. Those that weren't synced may be lost one by one.
func (d *Disk) change(do func(map[string]*file)) {
	do(d.files)
	d.pending = append(d.pending, do)
}

// find is the file of that name.
func (d *Disk) find(operation, name string) (*file, error) {
	f := d.files[name]
	if f == nil {
		return nil, fmt.Errorf("%s %s: %w", operation, name, fs.ErrNotExist)
	}
	return f, nil
}

// mounted implements filesys.FS.
type mounted struct {
	disk *Disk
	boot int
}

// look does something while there is power.
func (m *mounted) look(do func(d *Disk) error) error {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	if m.disk.off || m.boot != m.disk.boot {
		return ErrOff
	}
	return do(m.disk)
}

// change does something that counts as an operation.
func (m *mounted) change(do func(d *Disk) error) error {
	return m.look(func(d *Disk) error {
		if err := d.step(); err != nil {
			return err
		}
		return do(d)
	})
}

func (m *mounted) List() (names []string, err error) {
	err = m.look(func(d *Disk) error { names = slices.Sorted(maps.Keys(d.files)); return nil })
	return names, err
}

func (m *mounted) Read(name string) (content []byte, err error) {
	err = m.look(func(d *Disk) error {
		f, err := d.find("read", name)
		if err == nil {
			err = d.spoiled[name]
		}
		if err == nil {
			content = slices.Clone(f.content)
		}
		return err
	})
	return content, err
}

func (m *mounted) Create(name string) (filesys.File, error) {
	f := &file{}
	err := m.change(func(d *Disk) error {
		d.change(func(names map[string]*file) { names[name] = f })
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &handle{m, f}, nil
}

func (m *mounted) Rename(from, to string) error {
	return m.change(func(d *Disk) error {
		f, err := d.find("rename", from)
		if err == nil {
			d.change(func(names map[string]*file) { delete(names, from); names[to] = f })
		}
		return err
	})
}

func (m *mounted) Remove(name string) error {
	return m.change(func(d *Disk) error {
		_, err := d.find("remove", name)
		if err == nil {
			d.change(func(names map[string]*file) { delete(names, name) })
		}
		return err
	})
}

func (m *mounted) Sync() error {
	return m.change(func(d *Disk) error {
		d.durable, d.pending = maps.Clone(d.files), nil
		return nil
	})
}

// handle is an open file.
type handle struct {
	mounted *mounted
	file    *file
}

func (h *handle) Write(p []byte) (int, error) {
	err := h.mounted.change(func(d *Disk) error {
		if d.room >= 0 && d.used()+len(p) > d.room {
			return fmt.Errorf("write: %w", unix.ENOSPC)
		}
		h.file.content = append(h.file.content, p...)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (h *handle) Sync() error {
	return h.mounted.change(func(*Disk) error {
		h.file.synced = slices.Clone(h.file.content)
		return nil
	})
}

func (h *handle) Close() error { return nil }
