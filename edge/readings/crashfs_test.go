package readings

import (
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"

	"gnomon/edge/state"
)

var errCrashed = errors.New("power is gone")

// crashFS is a directory in memory that loses power before its n-th operation.
// What then survives is decided by chance within what a file system may do: of
// the names that changed since the last Sync any subset is as it was before, and
// content that was not synced may be cut short anywhere, or be zeros or rubbish
// from there on.
type crashFS struct {
	random  *rand.Rand
	left    int   // operations until the crash; < 0: never
	failure error // what the operation meets instead, once; nil: the power goes
	dead    bool
	files   map[string]*memFile // as running programs see it
	durable map[string]*memFile // names as of the last Sync
	pending []func(map[string]*memFile)
}

type memFile struct{ content, synced []byte }

func newCrashFS(seed uint64) *crashFS {
	return &crashFS{random: rand.New(rand.NewPCG(seed, 1)), left: -1,
		files: map[string]*memFile{}, durable: map[string]*memFile{}}
}

// step counts an operation; an error means that it did not happen.
func (c *crashFS) step() error {
	if c.dead {
		return errCrashed
	}
	if c.left == 0 {
		c.left = -1
		if c.failure != nil {
			return c.failure
		}
		c.dead = true
		return errCrashed
	}
	c.left--
	return nil
}

// restart is the node after the power is back.
func (c *crashFS) restart() {
	names := maps.Clone(c.durable)
	for _, change := range c.pending {
		if c.random.IntN(2) == 0 {
			change(names)
		}
	}
	c.files = map[string]*memFile{}
	for n, f := range names {
		kept := c.torn(f)
		c.files[n] = &memFile{kept, kept}
	}
	c.durable, c.pending, c.dead, c.left, c.failure = maps.Clone(c.files), nil, false, -1, nil
}

// torn is what is left of a file's content.
func (c *crashFS) torn(f *memFile) []byte {
	kept := slices.Clone(f.synced)
	if len(f.content) <= len(kept) || !slices.Equal(f.content[:len(kept)], kept) {
		return kept
	}
	tail := slices.Clone(f.content[len(kept):])
	from := c.random.IntN(len(tail) + 1)
	switch c.random.IntN(3) {
	case 0:
		tail = tail[:from]
	case 1:
		clear(tail[from:])
	case 2:
		for i := range tail[from:] {
			tail[from+i] = byte(c.random.Uint32())
		}
	}
	return append(kept, tail...)
}

func (c *crashFS) rename(change func(map[string]*memFile)) {
	change(c.files)
	c.pending = append(c.pending, change)
}

func (c *crashFS) List() ([]string, error) {
	if c.dead {
		return nil, errCrashed
	}
	return slices.Sorted(maps.Keys(c.files)), nil
}

func (c *crashFS) Read(name string) ([]byte, error) {
	if c.dead {
		return nil, errCrashed
	}
	f, ok := c.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return slices.Clone(f.content), nil
}

func (c *crashFS) Create(name string) (state.File, error) {
	if err := c.step(); err != nil {
		return nil, err
	}
	f := &memFile{}
	c.rename(func(m map[string]*memFile) { m[name] = f })
	return &handle{c, f}, nil
}

func (c *crashFS) Rename(from, to string) error {
	if err := c.step(); err != nil {
		return err
	}
	f, ok := c.files[from]
	if !ok {
		return fs.ErrNotExist
	}
	c.rename(func(m map[string]*memFile) { delete(m, from); m[to] = f })
	return nil
}

func (c *crashFS) Remove(name string) error {
	if err := c.step(); err != nil {
		return err
	}
	if _, ok := c.files[name]; !ok {
		return fs.ErrNotExist
	}
	c.rename(func(m map[string]*memFile) { delete(m, name) })
	return nil
}

func (c *crashFS) Sync() error {
	if err := c.step(); err != nil {
		return err
	}
	c.durable, c.pending = maps.Clone(c.files), nil
	return nil
}

type handle struct {
	fs   *crashFS
	file *memFile
}

func (h *handle) Write(p []byte) (int, error) {
	if err := h.fs.step(); err != nil {
		return 0, err
	}
	h.file.content = append(h.file.content, p...)
	return len(p), nil
}

func (h *handle) Sync() error {
	if err := h.fs.step(); err != nil {
		return err
	}
	h.file.synced = slices.Clone(h.file.content)
	return nil
}

func (h *handle) Close() error { return nil }
