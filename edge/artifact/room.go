package artifact

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Rules set how much of the file system is kept free, in bytes.
type Rules struct {
	Below   float64 // with less free, what nobody needs is deleted
	Until   float64 // until so much is free
	Reserve float64 // unpacking leaves so much free
	Sources bool    // archives and layouts in the components directory are deleted, too
}

// Care knows what must stay.
type Care interface {
	// Keep lists what is needed. With known false nothing is deleted.
	Keep() (k Keep, known bool)
	// Rules for a file system of so many bytes.
	Rules(all float64) Rules
}

// careless is the Care of a store that nobody takes care of: it deletes nothing
// and leaves a twentieth free, or 64 MiB.
type careless struct{}

func (careless) Keep() (Keep, bool) { return Keep{}, false }
func (careless) Rules(all float64) Rules {
	return Rules{Reserve: min(all/20, 64<<20)}
}

// fewInodes are kept free: less of them is a full disk, however many bytes there are.
const fewInodes = 64

// errInodes is what a disk that is full is short of, if not of bytes.
var errInodes = errors.New("no inodes")

// space is how a file system is.
type space struct {
	all, free     float64
	inodes, spare uint64 // 0 inodes: as many as there is room for
}

func spaceAt(path string) (space, error) {
	var v unix.Statfs_t
	if err := unix.Statfs(path, &v); err != nil {
		return space{}, fmt.Errorf("look at the file system of %s: %w", path, err)
	}
	return spaceOf(v), nil
}

func spaceOf(v unix.Statfs_t) space {
	size := float64(v.Bsize)
	return space{all: float64(v.Blocks) * size, free: float64(v.Bavail) * size, inodes: v.Files, spare: v.Ffree}
}

// short says that there is not enough left, "" if there is.
func (p space) short(need, reserve float64) error {
	if p.inodes > 0 && p.spare < fewInodes {
		return fmt.Errorf("%w: %w: %d of %d are free, %d are kept", ErrDiskFull, errInodes, p.spare, p.inodes, fewInodes)
	}
	if p.free-need < reserve {
		return fmt.Errorf("%w: %.1f MiB are needed, %.1f MiB are free, of which %.1f MiB are kept", ErrDiskFull, need/(1<<20), p.free/(1<<20), reserve/(1<<20))
	}
	return nil
}

// room makes sure that so many bytes can be written, deleting for it what nobody
// needs; mu is held.
func (s *Store) room(ctx context.Context, need float64) error {
	p, err := spaceAt(s.dir())
	if err != nil {
		return err
	}
	rules := s.cfg.Care.Rules(p.all)
	if p.short(need, rules.Reserve) == nil {
		return nil
	}
	if _, err := s.collect(ctx, func(p space) bool { return p.short(need, rules.Reserve) == nil }); err != nil {
		return errors.Join(ErrDiskFull, err)
	}
	if p, err = spaceAt(s.dir()); err != nil {
		return err
	}
	return p.short(need, rules.Reserve)
}

// fits checks before a file is written that it leaves what is kept.
func (u *unpacker) fits(size int64) error {
	var v unix.Statfs_t
	if err := unix.Fstatfs(int(u.root.Fd()), &v); err != nil {
		return err
	}
	p := spaceOf(v)
	return p.short(float64(size), u.cfg.Care.Rules(p.all).Reserve)
}

// named gives an error of the disk its name.
func named(err error) error {
	switch {
	case err == nil || errors.Is(err, ErrDiskFull) || errors.Is(err, ErrDiskReadOnly):
		return err
	case errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w: %w", ErrDiskReadOnly, err)
	}
	return err
}
