package artifact

import (
	"fmt"
	"os"
	"path"
	"strings"
)

// Marks by which a layer deletes what those below it brought.
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

// whiteout deletes one entry of a directory, or with the opaque mark all of
// them. What the marking layer itself brings stays, in whatever order its
// entries come.
func (u *unpacker) whiteout(parent *os.File, dir, base string) error {
	if base != opaque {
		victim := strings.TrimPrefix(base, whiteout)
		if victim == "" || victim == "." || victim == ".." {
			return fmt.Errorf("%w: whiteout of nothing", ErrUnsafePath)
		}
		if u.ours[path.Join(dir, victim)] {
			return nil
		}
		return removeAll(parent, victim)
	}
	d, err := u.open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return u.clear(d, dir)
}

// clear deletes what lower layers left in a directory. Directories this layer
// reached into are cleared in turn.
func (u *unpacker) clear(d *os.File, dir string) error {
	entries, err := d.ReadDir(-1)
	if err != nil {
		return err
	}
	for _, e := range entries {
		p := path.Join(dir, e.Name())
		if !u.ours[p] {
			if err := removeAll(d, e.Name()); err != nil {
				return err
			}
			continue
		}
		if !e.IsDir() {
			continue
		}
		sub, err := u.open(p)
		if err != nil {
			return err
		}
		err = u.clear(sub, p)
		sub.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
